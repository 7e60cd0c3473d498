import { hostname } from 'node:os';
import type { NewEvent } from '../state/index.ts';
import type { EngineConfig } from './config.ts';
import type { ReloadReport } from './types.ts';

/** What may change while an engine is open, with the words of the configuration file. */
const live = {
  defaultRuntime: 'default-runtime',
  runtimes: 'runtimes',
  labels: 'labels',
  debug: 'debug',
  registries: 'registries',
  trust: 'signature-policy',
  maxConcurrentDownloads: 'max-concurrent-downloads',
  maxConcurrentUploads: 'max-concurrent-uploads',
  imageGC: 'image-gc',
  events: 'events',
  logConfig: 'log-driver',
  callerPolicy: 'policy',
  cdiFolders: 'cdi-spec-dirs',
  builder: 'builder',
} as const satisfies Partial<Record<keyof EngineConfig, string>>;

const fixed = {
  dataRoot: 'data-root',
  execRoot: 'exec-root',
  storageDriver: 'storage-driver',
  enableIPv6: 'ipv6',
  bridgeSubnet: 'bip',
  defaultBinding: 'ip',
  network: 'network',
} as const satisfies Partial<Record<keyof EngineConfig, string>>;

const differs = (a: unknown, b: unknown): boolean => JSON.stringify(a) !== JSON.stringify(b);

/**
 * Makes a configuration that is in use like another one, as far as it may change.
 * Whoever holds it, or the part about events or trust, has the new values from then on.
 */
export function applyConfig(config: EngineConfig, next: EngineConfig): ReloadReport {
  const keysOf = (table: object) => Object.keys(table) as (keyof EngineConfig)[];
  const changed = keysOf(live).filter((key) => differs(config[key], next[key]));
  const kept = keysOf(fixed).filter((key) => differs(config[key], next[key]));
  const held = { events: config.events, trust: config.trust };
  Object.assign(config, Object.fromEntries(keysOf(live).map((key) => [key, next[key]])));
  config.events = Object.assign(held.events, next.events);
  config.trust = Object.assign(held.trust, { signaturePolicy: undefined, registriesFolder: undefined }, next.trust);
  const words: Record<string, string> = { ...live, ...fixed };
  return { changed: changed.map((key) => words[key]!), kept: kept.map((key) => words[key]!) };
}

/** docker's event of a reload. */
export function reloadEvent(engineId: string, config: EngineConfig): NewEvent {
  const list = (values: readonly string[]) => JSON.stringify(values);
  return {
    type: 'daemon',
    action: 'reload',
    actorId: engineId,
    attributes: {
      name: hostname(),
      debug: String(config.debug),
      'default-runtime': config.defaultRuntime,
      runtimes: config.runtimes.map(({ name, path }) => `${name}:${path}`).join(' '),
      labels: list(config.labels),
      'insecure-registries': list(config.registries.insecureRegistries),
      'registry-mirrors': list(config.registries.registryMirrors),
      'live-restore': 'true',
      'max-concurrent-downloads': String(config.maxConcurrentDownloads),
      'max-concurrent-uploads': String(config.maxConcurrentUploads),
    },
  };
}
