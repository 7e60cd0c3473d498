import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Listener, serve } from '../../api/docker/http/index.ts';
import { createApi } from '../../api/docker/index.ts';
import { configuredHosts } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { userFolders } from '../rootless.ts';
import { parseHost } from '../transport/host.ts';
import { VERSION } from '../version.ts';
import { notifyReady } from './notify.ts';
import { configFrom, openEngine } from './open-engine.ts';
import { toldToStop } from './signals.ts';

export interface ServeValues extends EngineValues {
  group?: string;
  host: string[];
  'insecure-tcp': boolean;
  pidfile?: string;
}

/**
 * Answers the Docker Engine API until SIGTERM or SIGINT; containers go on running.
 *
 * @param announce told of each address once it answers
 * @throws {TareError} InvalidArgument, Conflict: a wrong flag, an address or a pid file in use
 */
export async function serveUntilTold(values: ServeValues, announce: (line: string) => void): Promise<void> {
  const level = values.debug ? 'debug' : values['log-level'];
  if (!['debug', 'info', 'warn', 'error', 'fatal'].includes(level))
    throw new TareError(
      'InvalidArgument',
      `invalid --log-level ${JSON.stringify(level)}: debug, info, warn, error or fatal`,
    );
  const stop = toldToStop();
  const config = configFrom(values);
  const listeners = listenersOf(values, config.execRoot);
  const { pino } = await import('pino');
  const logger = pino({ level, base: null }, pino.destination({ fd: 2, sync: true }));
  using _pidfile = pidFile(values.pidfile);
  await using engine = await openEngine(config, {
    watchesExits: true,
    reconciles: true,
    startsByPolicy: true,
    housekeeps: true,
    notice: (text) => logger.info(text),
    report: (subject, error) => logger.error({ err: error }, subject),
  });
  const serving = await serve(createApi(engine, { version: VERSION, logger }), listeners, logger);
  for (const address of serving.addresses) announce(`API listen on ${address}`);
  notifyReady('READY=1');
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
  logger.info(`stopping on ${stop.reason}`);
  notifyReady('STOPPING=1');
  await serving.close();
}

/** Where to listen: the flags' word, the configuration file's, or the engine root's own socket. */
function listenersOf(values: ServeValues, execRoot: string): Listener[] {
  const configured =
    values.host.length > 0 ? values.host : configuredHosts(values['config-file'] ?? values.config, userFolders());
  const hosts = configured.length > 0 ? configured : [`unix://${execRoot}/tare.sock`];
  const gid = values.group === undefined ? undefined : groupId(values.group);
  return hosts.map((text): Listener => {
    if (text === 'fd://') return { fd: activatedSocket() };
    const address = parseHost(text);
    if ('path' in address) {
      mkdirSync(dirname(address.path), { recursive: true, mode: 0o700 });
      // 0 in his namespaces is an ordinary user's own group, and the only one of the host's there.
      const group = userFolders() === undefined ? gid : 0;
      return group === undefined ? address : { ...address, gid: group };
    }
    if (!values['insecure-tcp'])
      throw new TareError(
        'InvalidArgument',
        `refusing to listen on ${text}: whoever reaches that port is root here, and TLS is not supported yet; say --insecure-tcp if only trusted programs can reach it, or use a unix socket through ssh`,
      );
    return address;
  });
}

/** @throws {TareError} InvalidArgument: no such group */
function groupId(name: string): number {
  if (/^\d{1,9}$/.test(name)) return Number(name);
  for (const line of readFileSync('/etc/group', 'utf8').split('\n')) {
    const [group, , gid] = line.split(':');
    if (group === name && gid) return Number(gid);
  }
  throw new TareError(
    'InvalidArgument',
    `no group ${JSON.stringify(name)} for --group: add it with groupadd, or give another`,
  );
}

/** The first socket that systemd opened for us (sd_listen_fds(3)). @throws {TareError} InvalidArgument: there is none */
function activatedSocket(): number {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  if (Number(LISTEN_PID) !== process.pid || !(Number(LISTEN_FDS) > 0))
    throw new TareError(
      'InvalidArgument',
      'host "fd://": no socket was handed over; start the service through its systemd socket unit',
    );
  return 3;
}

/** Holds the pid file until disposed. @throws {TareError} Conflict: the process in it still runs */
function pidFile(path: string | undefined): Disposable {
  if (path === undefined) return { [Symbol.dispose]() {} };
  const before = readPid(path);
  if (before !== undefined && before !== process.pid && isAlive(before))
    throw new TareError(
      'Conflict',
      `the pid file ${path} names process ${before}, which runs: stop it, or remove the file`,
    );
  writeFileSync(path, `${process.pid}\n`, { mode: 0o644 });
  return {
    [Symbol.dispose]() {
      if (readPid(path) === process.pid) rmSync(path, { force: true });
    },
  };
}

function readPid(path: string): number | undefined {
  try {
    const pid = Number(readFileSync(path, 'utf8').trim());
    return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
