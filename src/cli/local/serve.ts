import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Listener, type Serving, serve } from '../../api/docker/http/index.ts';
import { type Answered, createApi } from '../../api/docker/index.ts';
import { peerOf, type ReloadReport, type ServeSettings, serveSettings } from '../../engine/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';
import type { EngineValues } from '../engine-options.ts';
import { userFolders } from '../rootless.ts';
import { parseHost } from '../transport/host.ts';
import { VERSION } from '../version.ts';
import { AuditLog, auditOptionsOf } from './audit-log.ts';
import { BuildFace } from './build-face.ts';
import { type ListenValues, listenersOf } from './listeners.ts';
import { notifyReady } from './notify.ts';
import { configFrom, openEngine } from './open-engine.ts';
import { toldToStop } from './signals.ts';
import { Tracing, tracesUrl } from './tracing.ts';

export interface ServeValues extends EngineValues, ListenValues {
  'audit-log'?: string | undefined;
  'buildkit-socket'?: string | undefined;
  'metrics-addr'?: string | undefined;
  pidfile?: string | undefined;
  validate: boolean;
}

/**
 * Answers the Docker Engine API until SIGTERM or SIGINT; containers go on running.
 *
 * @param announce told of each address once it answers
 * @throws {TareError} InvalidArgument, Conflict: a wrong flag, an address or a pid file in use
 */
export async function serveUntilTold(values: ServeValues, announce: (line: string) => void): Promise<void> {
  const stop = toldToStop();
  const config = configFrom(values);
  const file = serveSettings(values['config-file'] ?? values.config, userFolders());
  const level = levelOf(values, file, config.debug);
  const auditOptions = auditOptionsOf(values['audit-log'], file.audit);
  const listeners = listenersOf(values, file, config.execRoot);
  const metricsAt = metricsAddress(values['metrics-addr'] ?? file['metrics-addr']);
  if (values.validate) return announce('configuration OK');
  const { pino } = await import('pino');
  const logger = pino({ level, base: null }, pino.destination({ fd: 2, sync: true }));
  using _pidfile = pidFile(values.pidfile);
  const reportAudit = (error: unknown) => logger.error({ err: error }, 'writing the audit log');
  using audit = auditOptions && new AuditLog(auditOptions, reportAudit);
  let serving: Serving | undefined;
  let fresh = { level, listeners, config };
  const reread = () => {
    // All is read before any of it counts.
    const next = configFrom(values);
    const nextFile = serveSettings(values['config-file'] ?? values.config, userFolders());
    fresh = {
      config: next,
      level: levelOf(values, nextFile, next.debug),
      listeners: listenersOf(values, nextFile, config.execRoot),
    };
    return next;
  };
  const reloaded = (report: ReloadReport) => {
    logger.level = fresh.level;
    if (sameAddresses(listeners, fresh.listeners)) serving?.renew(fresh.listeners);
    else report.kept.push('hosts');
    const later = report.kept.length === 0 ? '' : `; from the next start on: ${report.kept.join(', ')}`;
    logger.info(`reloaded the configuration: ${report.changed.join(', ') || 'nothing'} changed${later}`);
  };
  await using engine = await openEngine(config, {
    watchesExits: true,
    reconciles: true,
    startsByPolicy: true,
    housekeeps: true,
    reload: { read: () => reread(), applied: (report) => reloaded(report) },
    notice: (text) => logger.info(text),
    report: (subject, error) => logger.error({ err: error }, subject),
  });
  const figures = metricsAt === undefined ? undefined : await import('../../api/metrics/index.ts');
  const actions = figures && new figures.Actions();
  const traces = tracesUrl(process.env);
  const reportTraces = (error: unknown) => logger.error({ err: error }, 'sending traces');
  await using tracing = traces === undefined ? undefined : new Tracing(traces, process.env, reportTraces);
  const observers: ((answered: Answered) => void)[] = [];
  if (actions)
    observers.push(({ method, route, status, seconds }) => actions.note(`${method} ${route}`, status, seconds));
  if (tracing) observers.push((answered) => tracing.note(answered));
  await using buildFace = new BuildFace(engine.builds, {
    report: (subject, error) => logger.error({ err: error }, subject),
    audit: audit && ((entry) => audit.write(entry)),
  });
  const api = createApi(engine, {
    ...{ version: VERSION, logger, experimental: engine.config.experimental },
    ...(audit && { audit: (entry) => audit.write(entry) }),
    builds: buildFace,
    ...(observers.length > 0 && { observe: (answered) => observers.forEach((tell) => void tell(answered)) }),
  });
  await using _figures = figures && actions && metricsAt && (await figures.serveMetrics(engine, actions, metricsAt));
  serving = await serve(api, listeners, { logger, peerOf });
  const buildSocket = values['buildkit-socket'] ?? file['buildkit-socket'] ?? join(config.execRoot, 'buildkitd.sock');
  await buildFace.listen(resolve(buildSocket));
  for (const address of serving.addresses) announce(`API listen on ${address}`);
  const onHangup = () => {
    engine.system.reload().catch((error: unknown) => {
      logger.error(`the configuration stays as it was: ${messageOf(error)}`);
    });
  };
  process.on('SIGHUP', onHangup);
  notifyReady('READY=1');
  if (!stop.aborted) await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
  logger.info(`stopping on ${stop.reason}`);
  notifyReady('STOPPING=1');
  await serving.close();
}

/** @throws {TareError} InvalidArgument: not ADDRESS:PORT */
function metricsAddress(text: string | undefined): { host: string; port: number } | undefined {
  if (text === undefined || text === '') return undefined;
  const address = parseHost(`tcp://${text}`);
  if ('port' in address) return address;
  throw new TareError('InvalidArgument', `invalid --metrics-addr ${JSON.stringify(text)}: want ADDRESS:PORT`);
}

const levels = ['debug', 'info', 'warn', 'error', 'fatal'];

/** @throws {TareError} InvalidArgument: no such level */
function levelOf(values: ServeValues, file: ServeSettings, debug: boolean): string {
  if (debug) return 'debug';
  const level = values['log-level'] === 'info' ? (file['log-level'] ?? 'info') : values['log-level'];
  if (levels.includes(level)) return level;
  throw new TareError(
    'InvalidArgument',
    `invalid --log-level ${JSON.stringify(level)}: debug, info, warn, error or fatal`,
  );
}

/** Certificates may change, addresses not. */
function sameAddresses(before: readonly Listener[], after: readonly Listener[]): boolean {
  const places = (listeners: readonly Listener[]) =>
    listeners.map((one) =>
      'port' in one ? [one.host, one.port, one.tls?.verifiesClients] : 'path' in one ? one.path : one.fd,
    );
  return JSON.stringify(places(before)) === JSON.stringify(places(after));
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
