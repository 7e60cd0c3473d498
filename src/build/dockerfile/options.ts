import { isIP } from 'node:net';
import { TareError } from '../../errors/index.ts';
import {
  canonical,
  formatPlatform,
  normalized,
  parseGoBoolean,
  parsePlatform,
  parseReference,
  withDefaultTag,
} from '../../image/index.ts';
import { NetMode } from '../../protocol/index.ts';
import type { Platform } from '../../storage/index.ts';
import { type SbomOptions, sbomOptions } from '../attestations/attest-options.ts';
import { parseEpoch } from '../exporters/epoch.ts';
import type { FrontendBridge } from '../frontend.ts';
import { commaFields } from './comma-fields.ts';

/** What a client asks of the frontend, read once. */
export interface FrontendOptions {
  /** Undefined: the last stage. */
  target: string | undefined;
  buildArgs: ReadonlyMap<string, string>;
  labels: ReadonlyMap<string, string>;
  /** Empty: the builder's own. */
  platforms: readonly Platform[];
  buildPlatform: Platform;
  /** Results are given by platform, also when there is one. */
  isMultiPlatform: boolean;
  resolveMode: 'default' | 'pull' | 'local';
  extraHosts: readonly { host: string; ip: string }[];
  /** 0: the runtime's default. */
  shmSizeBytes: number;
  ulimits: readonly { name: string; soft: bigint; hard: bigint }[];
  devices: readonly string[];
  cgroupParent: string;
  network: NetMode;
  hostname: string;
  /** Names of stages, lower case; empty: all. Undefined: the cache is used. */
  noCache: readonly string[] | undefined;
  cacheImports: readonly { type: string; attributes: Readonly<Record<string, string>> }[];
  /** `SOURCE_DATE_EPOCH`, seconds. */
  epochSeconds: number | undefined;
  /** Before the ids of cache mounts. */
  cacheNamespace: string;
  sbom: SbomOptions | undefined;
  /** Options of the checks, as a `# check=` directive has them. */
  checks: string | undefined;
  /** Sessions of clients' folders that are not the build's own. */
  localSessions: ReadonlyMap<string, string>;
}

const invalid = (message: string, cause?: unknown) =>
  new TareError('InvalidArgument', message, cause === undefined ? {} : { cause });

/** @throws {TareError} InvalidArgument: the option, its value, and what would be right */
export function readOptions(bridge: Pick<FrontendBridge, 'options' | 'platforms'>): FrontendOptions {
  const { options } = bridge;
  const text = (key: string): string => options[key] ?? '';
  const platforms = readPlatforms(text('platform'));
  const own = bridge.platforms[0];
  return {
    target: text('target') === '' ? undefined : text('target'),
    buildArgs: withPrefix(options, 'build-arg:'),
    labels: withPrefix(options, 'label:'),
    platforms,
    buildPlatform: normalized(own === undefined ? parsePlatform('linux') : { ...own }),
    isMultiPlatform: readMultiPlatform(
      text('build-arg:BUILDKIT_MULTI_PLATFORM') || text('multi-platform'),
      platforms.length,
    ),
    resolveMode: readResolveMode(text('image-resolve-mode')),
    extraHosts: readExtraHosts(text('add-hosts')),
    shmSizeBytes: readInteger('shm-size', text('shm-size'), 0),
    ulimits: list('ulimit', text('ulimit')).map(readUlimit),
    devices: [...list('device', text('device')), ...list('devices', text('devices'))],
    cgroupParent: text('cgroup-parent'),
    network: readNetwork(text('force-network-mode')),
    hostname: text('build-arg:BUILDKIT_SANDBOX_HOSTNAME') || text('hostname'),
    noCache: readNoCache(options['no-cache']),
    cacheImports: readCacheImports(text('cache-imports'), text('cache-from')),
    epochSeconds: readEpoch(text('build-arg:SOURCE_DATE_EPOCH')),
    cacheNamespace: text('build-arg:BUILDKIT_CACHE_MOUNT_NS'),
    sbom: readSbom(options),
    checks: options['build-arg:BUILDKIT_DOCKERFILE_CHECK'],
    localSessions: withPrefix(options, 'local-sessionid:'),
  };
}

function withPrefix(options: Readonly<Record<string, string>>, prefix: string): Map<string, string> {
  return new Map(
    Object.entries(options).flatMap(([key, value]) =>
      key.startsWith(prefix) ? [[key.slice(prefix.length), value] as const] : [],
    ),
  );
}

const list = (key: string, text: string): string[] => (text === '' ? [] : commaFields(text, key));

const MAX_PLATFORMS = 100;

function readPlatforms(text: string): Platform[] {
  if (text === '') return [];
  const parts = text.split(',');
  // Each is a build of its own.
  if (parts.length > MAX_PLATFORMS) throw invalid(`${parts.length} target platforms: at most ${MAX_PLATFORMS}`);
  const platforms = parts.map((part) => {
    try {
      return normalized(parsePlatform(part));
    } catch (error) {
      throw invalid(`failed to parse target platform ${part}: ${(error as Error).message}`, error);
    }
  });
  return [...new Map(platforms.map((platform) => [formatPlatform(platform), platform])).values()];
}

function readMultiPlatform(text: string, count: number): boolean {
  if (text === '') return count > 1;
  const value = parseGoBoolean(text);
  if (value === undefined) throw invalid(`invalid boolean value for multi-platform: ${text}: want true or false`);
  if (!value && count > 1) {
    throw invalid('conflicting config: returning multiple target platforms is not allowed');
  }
  return value;
}

function readResolveMode(text: string): 'default' | 'pull' | 'local' {
  if (text === '' || text === 'default') return 'default';
  if (text === 'pull' || text === 'local') return text;
  throw invalid(`invalid image-resolve-mode: ${text}: want default, pull or local`);
}

function readExtraHosts(text: string): { host: string; ip: string }[] {
  return list('add-hosts', text).map((field) => {
    const [, host, ip] = /^([^=]*)=(.*)$/s.exec(field.toLowerCase()) ?? [];
    if (host === undefined || ip === undefined) {
      throw invalid(`failed to parse additional hosts: invalid key-value pair ${field}: want host=address`);
    }
    const address = ip.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) === 0) throw invalid(`failed to parse additional hosts: failed to parse IP ${ip}`);
    return { host, ip: address };
  });
}

function readInteger(key: string, text: string, absent: number): number {
  if (text === '') return absent;
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
    throw invalid(`failed to parse ${key.replace('-', ' ')}: ${JSON.stringify(text)} is no number of bytes`);
  }
  return value;
}

const ulimitNames =
  'core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(' ');

function readUlimit(field: string): { name: string; soft: bigint; hard: bigint } {
  const [, name, soft, hard] = /^([a-z]+)=(-1|\d{1,18})(?::(-1|\d{1,18}))?$/.exec(field) ?? [];
  if (name === undefined || soft === undefined) {
    throw invalid(`failed to parse ulimit: invalid ulimit argument: ${field}: want name=soft or name=soft:hard`);
  }
  if (!ulimitNames.includes(name)) throw invalid(`failed to parse ulimit: invalid ulimit type: ${name}`);
  const limits = { soft: BigInt(soft), hard: BigInt(hard ?? soft) };
  if (limits.hard !== -1n && (limits.soft > limits.hard || limits.soft === -1n)) {
    throw invalid(
      `failed to parse ulimit: ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard ?? soft}`,
    );
  }
  return { name, ...limits };
}

function readNetwork(text: string): NetMode {
  const modes: Record<string, NetMode> = {
    '': NetMode.UNSET,
    sandbox: NetMode.UNSET,
    none: NetMode.NONE,
    host: NetMode.HOST,
  };
  const mode = Object.hasOwn(modes, text) ? modes[text] : undefined;
  if (mode === undefined) throw invalid(`invalid netmode ${text}: want sandbox, none or host`);
  return mode;
}

function readNoCache(text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined;
  return text === '' ? [] : text.split(',').map((name) => name.toLowerCase());
}

function readCacheImports(document: string, images: string) {
  const imports: { type: string; attributes: Record<string, string> }[] = [];
  if (document !== '') {
    let value: unknown;
    try {
      value = JSON.parse(document);
    } catch (error) {
      throw invalid(`failed to unmarshal cache-imports (${JSON.stringify(document)}): it is no JSON`, error);
    }
    for (const entry of Array.isArray(value) ? value : [undefined]) imports.push(cacheEntryOf(entry));
  }
  if (images !== '') imports.push(...images.split(',').map((ref) => ({ type: 'registry', attributes: { ref } })));
  return imports;
}

function cacheEntryOf(entry: unknown): { type: string; attributes: Record<string, string> } {
  const { Type: type, Attrs: attributes = {} } = (entry ?? {}) as { Type?: unknown; Attrs?: unknown };
  const isMap = typeof attributes === 'object' && attributes !== null;
  if (typeof type !== 'string' || !isMap || Object.values(attributes).some((value) => typeof value !== 'string')) {
    throw invalid('failed to unmarshal cache-imports: want a list of {"Type": "registry", "Attrs": {"ref": "…"}}');
  }
  return { type, attributes: attributes as Record<string, string> };
}

function readEpoch(text: string): number | undefined {
  const epochMs = parseEpoch(text);
  return epochMs === undefined ? undefined : epochMs / 1000;
}

function readSbom(options: Readonly<Record<string, string>>): FrontendOptions['sbom'] {
  const wanted = sbomOptions(options);
  if (wanted?.generator === undefined) return wanted;
  try {
    return { ...wanted, generator: canonical(withDefaultTag(parseReference(wanted.generator))) };
  } catch (error) {
    throw invalid(`failed to parse sbom scanner ${wanted.generator}: ${(error as Error).message}`, error);
  }
}
