import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { serve } from '../../api/docker/http/index.ts';
import { createApi } from '../../api/docker/index.ts';
import { peerOf, serveSettings } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { userFolders } from '../rootless.ts';
import { VERSION } from '../version.ts';
import { AuditLog, auditOptionsOf } from './audit-log.ts';
import { type ListenValues, listenersOf } from './listeners.ts';
import { notifyReady } from './notify.ts';
import { configFrom, openEngine } from './open-engine.ts';
import { toldToStop } from './signals.ts';

export interface ServeValues extends EngineValues, ListenValues {
  'audit-log'?: string | undefined;
  pidfile?: string | undefined;
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
  const file = serveSettings(values['config-file'] ?? values.config, userFolders());
  const listeners = listenersOf(values, file, config.execRoot);
  const { pino } = await import('pino');
  const logger = pino({ level, base: null }, pino.destination({ fd: 2, sync: true }));
  using _pidfile = pidFile(values.pidfile);
  const reportAudit = (error: unknown) => logger.error({ err: error }, 'writing the audit log');
  const auditOptions = auditOptionsOf(values['audit-log'], file.audit);
  using audit = auditOptions && new AuditLog(auditOptions, reportAudit);
  await using engine = await openEngine(config, {
    watchesExits: true,
    reconciles: true,
    startsByPolicy: true,
    housekeeps: true,
    notice: (text) => logger.info(text),
    report: (subject, error) => logger.error({ err: error }, subject),
  });
  const api = createApi(engine, { version: VERSION, logger, ...(audit && { audit: (entry) => audit.write(entry) }) });
  const serving = await serve(api, listeners, { logger, peerOf });
  for (const address of serving.addresses) announce(`API listen on ${address}`);
  notifyReady('READY=1');
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
  logger.info(`stopping on ${stop.reason}`);
  notifyReady('STOPPING=1');
  await serving.close();
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
