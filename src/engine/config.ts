import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, realpathSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { TareError } from '../errors/index.ts';
import { checkRegistryOptions } from '../image/index.ts';
import { isIP } from '../linux/index.ts';
import { type RuntimeBinary, standardCdiFolders } from '../runtime/index.ts';
import type { EventLimits } from '../state/index.ts';
import { type BuilderConfig, parseBuilderConfig, usualBuilder } from './builds/builder-config.ts';
import { type CallerPolicy, parseCallerPolicy } from './caller-policy-config.ts';
import { type ConfigFile, readConfigFile } from './config-file.ts';
import { eventArguments, parseEventLimits } from './event-config.ts';
import { formatThreshold, type ImageGC, parseImageGC } from './image-gc-config.ts';
import { parseLogOptions } from './log-options.ts';
import { type NetworkConfig, type NetworkFlags, networkArguments, parseNetworkConfig } from './network-config.ts';

/** Everything that an engine is told when it opens. */
export interface EngineConfig {
  /** Records, content, layers, snapshots, volumes. */
  dataRoot: string;
  /** Sockets, bundles, locks: gone with a reboot. */
  execRoot: string;
  defaultRuntime: string;
  runtimes: RuntimeBinary[];
  storageDriver: 'overlay' | 'vfs';
  enableIPv6: boolean;
  /** CIDR of the default bridge; undefined: taken from the pools. */
  bridgeSubnet?: string;
  /** Where ports are published when no address is named; undefined: on all addresses. */
  defaultBinding?: string;
  /** Address pools, and what the default network is like beside its subnet. */
  network: NetworkConfig;
  /** Of an ordinary user's engine: the folder of the namespaces that it lives in. */
  rootless?: { namespaces: string };
  /** How to run the tare command again: conmon's exit command and the keeper use it. */
  command: string[];
  labels: string[];
  debug: boolean;
  /** Say that it is experimental: docker's client then shows what it hides otherwise, such as `checkpoint`. */
  experimental: boolean;
  /** The program for checkpoints, named `criu`; undefined: the one on the usual path. */
  criuPath?: string;
  /** How registries are reached, as `loadRegistriesConf` takes it. */
  registries: RegistrySettings;
  /** Who must have signed images. */
  trust: TrustSettings;
  /** Layers that are fetched, and that are sent, at the same time by one operation. */
  maxConcurrentDownloads: number;
  maxConcurrentUploads: number;
  /** When unused images are removed by themselves; undefined: never. */
  imageGC?: ImageGC;
  /** How long events are kept. */
  events: EventLimits;
  /** What callers may not have; undefined: everybody may have everything. */
  callerPolicy?: CallerPolicy;
  /** What takes the output of containers that do not say. */
  logConfig: { type: string; config: Record<string, string> };
  /** What builds may use. */
  builder: BuilderConfig;
  /** Where devices are described (CDI); what stands in a later one counts. */
  cdiFolders: string[];
}

export interface RegistrySettings {
  /** The only registries.conf that is read; undefined: the machine's and the user's. */
  registriesConf?: string;
  /** `HOST[:PORT]` or CIDR. */
  insecureRegistries: string[];
  /** Mirrors of docker.io, `https://HOST[:PORT]`. */
  registryMirrors: string[];
}

/** Where policies are, as the engine is told. */
export interface TrustSettings {
  /** The only policy.json that is read; undefined: the user's or the machine's. */
  signaturePolicy?: string;
  /** The only registries.d that is read; undefined: the user's or the machine's. */
  registriesFolder?: string;
}

/** Where an engine keeps its files unless it is told otherwise. */
export interface DefaultFolders {
  dataRoot: string;
  execRoot: string;
  configFile: string;
}

const machineFolders: DefaultFolders = {
  dataRoot: '/var/lib/tare',
  execRoot: '/run/tare',
  configFile: '/etc/tare/tare.toml',
};

/** What flags may say; undefined leaves the file's or the default's word. */
export interface ConfigFlags {
  configFile?: string;
  dataRoot?: string;
  execRoot?: string;
  defaultRuntime?: string;
  /** `name=path`. */
  addRuntimes?: string[];
  /** `name=argument`. */
  runtimeArgs?: string[];
  storageDriver?: string;
  enableIPv6?: boolean;
  bridgeSubnet?: string;
  defaultBinding?: string;
  network?: NetworkFlags;
  labels?: string[];
  debug?: boolean;
  experimental?: boolean;
  criuPath?: string;
  registriesConf?: string;
  insecureRegistries?: string[];
  registryMirrors?: string[];
  signaturePolicy?: string;
  registriesD?: string;
  maxConcurrentDownloads?: number;
  maxConcurrentUploads?: number;
  imageGCHigh?: string;
  imageGCLow?: string;
  eventsMaxAge?: string;
  eventsMaxSize?: string;
  cdiFolders?: string[];
  logDriver?: string;
  /** `NAME=VALUE`. */
  logOptions?: string[];
}

/**
 * Merges flags, the configuration file (TOML, dockerd's key names) and the defaults, in that order.
 *
 * @param command how this program was started, without its arguments
 * @param own folders of an ordinary user, whose engine runs without root
 * @throws {TareError} InvalidArgument: the file, the key and what would be right
 */
export function loadConfig(
  flags: ConfigFlags,
  command: string[],
  own?: DefaultFolders & { namespaces: string },
): EngineConfig {
  const folders = own ?? machineFolders;
  const file = readConfigFile(flags.configFile, folders.configFile);
  const runtimes = knownRuntimes(flags, file);
  const defaultRuntime =
    flags.defaultRuntime ??
    file['default-runtime'] ??
    (runtimes.has('crun') ? 'crun' : (runtimes.keys().next().value ?? 'crun'));
  if (runtimes.size > 0 && !runtimes.has(defaultRuntime)) {
    throw new TareError(
      'InvalidArgument',
      `default runtime ${JSON.stringify(defaultRuntime)} is not configured: one of ${[...runtimes.keys()].join(', ')}`,
    );
  }
  const storageDriver = flags.storageDriver ?? file['storage-driver'] ?? 'overlay';
  if (storageDriver !== 'overlay' && storageDriver !== 'vfs') {
    throw new TareError('InvalidArgument', `storage driver ${JSON.stringify(storageDriver)}: want overlay or vfs`);
  }
  const bridgeSubnet = flags.bridgeSubnet ?? file.bip;
  const defaultBinding = bindingAddress(flags.defaultBinding ?? file.ip);
  const gc = file['image-gc'];
  const imageGC = parseImageGC(flags.imageGCHigh ?? gc?.high, flags.imageGCLow ?? gc?.low);
  return {
    dataRoot: resolve(flags.dataRoot ?? file['data-root'] ?? folders.dataRoot),
    execRoot: resolve(flags.execRoot ?? file['exec-root'] ?? folders.execRoot),
    defaultRuntime,
    runtimes: [...runtimes.values()],
    storageDriver,
    enableIPv6: flags.enableIPv6 ?? file.ipv6 ?? false,
    ...(bridgeSubnet === undefined ? {} : { bridgeSubnet }),
    ...(defaultBinding === undefined ? {} : { defaultBinding }),
    network: parseNetworkConfig(flags.network ?? {}, file),
    ...(own === undefined ? {} : { rootless: { namespaces: own.namespaces } }),
    command,
    labels: flags.labels ?? file.labels ?? [],
    debug: flags.debug ?? file.debug ?? false,
    experimental: flags.experimental ?? file.experimental ?? false,
    ...criuProgram(flags.criuPath ?? file['criu-path']),
    registries: registrySettings(flags, file),
    trust: trustSettings(flags, file),
    maxConcurrentDownloads: transfers('max-concurrent-downloads', flags.maxConcurrentDownloads, file, 6),
    maxConcurrentUploads: transfers('max-concurrent-uploads', flags.maxConcurrentUploads, file, 5),
    ...(imageGC === undefined ? {} : { imageGC }),
    events: parseEventLimits(
      flags.eventsMaxAge ?? file.events?.['max-age'],
      flags.eventsMaxSize ?? file.events?.['max-size'],
    ),
    cdiFolders: cdiFolders(flags, file),
    logConfig: logDefaults(flags, file),
    builder: file.builder === undefined ? usualBuilder : parseBuilderConfig(file.builder),
    ...(file.policy === undefined ? {} : { callerPolicy: parseCallerPolicy(file.policy) }),
  };
}

/** The well-known ones that are installed, those of the file, those of the flags: of one name the last counts. */
function knownRuntimes(flags: ConfigFlags, file: ConfigFile): Map<string, RuntimeBinary> {
  const runtimes = new Map(wellKnownRuntimes().map((runtime) => [runtime.name, runtime]));
  for (const [name, entry] of Object.entries(file.runtimes ?? {})) {
    runtimes.set(name, { name, path: entry.path, args: entry.runtimeArgs ?? [] });
  }
  for (const text of flags.addRuntimes ?? []) {
    const [name, path] = splitOnce(text);
    if (!name || !path) {
      throw new TareError('InvalidArgument', `invalid runtime ${JSON.stringify(text)}: want NAME=PATH`);
    }
    runtimes.set(name, { name, path, args: [] });
  }
  for (const text of flags.runtimeArgs ?? []) {
    const [name, argument] = splitOnce(text);
    const runtime = runtimes.get(name);
    if (argument === undefined || runtime === undefined) {
      throw new TareError(
        'InvalidArgument',
        `invalid runtime argument ${JSON.stringify(text)}: want NAME=ARGUMENT with one of ${[...runtimes.keys()].join(', ')}`,
      );
    }
    runtimes.set(name, { ...runtime, args: [...runtime.args, argument] });
  }
  return runtimes;
}

/** @returns what stands before and behind the first `=`; undefined: there is none */
function splitOnce(text: string): [string, string | undefined] {
  const [name = '', value] = text.split(/=(.*)/s);
  return [name, value];
}

function cdiFolders(flags: ConfigFlags, file: ConfigFile): string[] {
  const given = [...(file['cdi-spec-dirs'] ?? []), ...(flags.cdiFolders ?? [])];
  return given.length === 0 ? [...standardCdiFolders] : given.map((folder) => resolve(folder));
}

/** @throws {TareError} InvalidArgument: a driver or an option that it has not */
function logDefaults(flags: ConfigFlags, file: ConfigFile): EngineConfig['logConfig'] {
  const given = (flags.logOptions ?? []).map((text): [string, string] => {
    const [name, value] = splitOnce(text);
    if (name === '' || value === undefined)
      throw new TareError('InvalidArgument', `invalid log-opt ${JSON.stringify(text)}: want NAME=VALUE`);
    return [name, value];
  });
  const logConfig = {
    type: flags.logDriver ?? file['log-driver'] ?? 'json-file',
    config: { ...file['log-opts'], ...Object.fromEntries(given) },
  };
  parseLogOptions(logConfig);
  return logConfig;
}

/** @throws {TareError} InvalidArgument: the runtimes would not find it, for they know it by its folder and this name */
function criuProgram(path: string | undefined): { criuPath?: string } {
  if (path === undefined) return {};
  if (/^\/[^:]*$/.test(path) && basename(path) === 'criu') return { criuPath: path };
  throw new TareError(
    'InvalidArgument',
    `invalid criu-path ${JSON.stringify(path)}: want the absolute path, without colons, of a program named criu`,
  );
}

/** Lists of the file and of the flags add up, as they do not contradict each other. */
function registrySettings(flags: ConfigFlags, file: ConfigFile): RegistrySettings {
  const registriesConf = flags.registriesConf ?? file['registries-conf'];
  const settings = {
    ...(registriesConf === undefined ? {} : { registriesConf: resolve(registriesConf) }),
    insecureRegistries: [...(file['insecure-registries'] ?? []), ...(flags.insecureRegistries ?? [])],
    registryMirrors: [...(file['registry-mirrors'] ?? []), ...(flags.registryMirrors ?? [])],
  };
  checkRegistryOptions(settings);
  return settings;
}

function trustSettings(flags: ConfigFlags, file: ConfigFile): TrustSettings {
  const signaturePolicy = flags.signaturePolicy ?? file['signature-policy'];
  const registriesFolder = flags.registriesD ?? file['registries-d'];
  return {
    ...(signaturePolicy === undefined ? {} : { signaturePolicy: resolve(signaturePolicy) }),
    ...(registriesFolder === undefined ? {} : { registriesFolder: resolve(registriesFolder) }),
  };
}

/** @throws {TareError} InvalidArgument: not an IP address */
function bindingAddress(text: string | undefined): string | undefined {
  if (text === undefined || text === '') return undefined;
  if (!text.includes('%') && isIP(text) !== 0) return text;
  throw new TareError(
    'InvalidArgument',
    `invalid ip ${JSON.stringify(text)}: want the address that ports are published on, such as 127.0.0.1`,
  );
}

const MAX_TRANSFERS = 64;

/** @throws {TareError} InvalidArgument: not between 1 and 64 */
function transfers(
  name: 'max-concurrent-downloads' | 'max-concurrent-uploads',
  flag: number | undefined,
  file: ConfigFile,
  usual: number,
): number {
  const value = flag ?? file[name] ?? usual;
  if (value >= 1 && value <= MAX_TRANSFERS) return value;
  throw new TareError('InvalidArgument', `invalid ${name} ${value}: want a whole number from 1 to ${MAX_TRANSFERS}`);
}

/**
 * The engine's name among its neighbours: cgroups, links and tables derive from it.
 * @returns `tare` for the default data root, else `tare-` and 8 hex digits of its path's hash
 */
export function instanceName(dataRoot: string): string {
  mkdirSync(dataRoot, { recursive: true, mode: 0o700 });
  const real = realpathSync(dataRoot);
  return real === machineFolders.dataRoot
    ? 'tare'
    : `tare-${createHash('sha256').update(real).digest('hex').slice(0, 8)}`;
}

/** The flags that make another process open the same engine in the same way. */
export const configArguments = (config: EngineConfig): string[] => [
  '--data-root',
  config.dataRoot,
  '--exec-root',
  config.execRoot,
  '--default-runtime',
  config.defaultRuntime,
  '--storage-driver',
  config.storageDriver,
  ...config.runtimes.flatMap(({ name, path, args }) => [
    '--add-runtime',
    `${name}=${path}`,
    ...args.flatMap((argument) => ['--runtime-arg', `${name}=${argument}`]),
  ]),
  ...(config.enableIPv6 ? ['--ipv6'] : []),
  ...(config.bridgeSubnet === undefined ? [] : ['--bip', config.bridgeSubnet]),
  ...networkArguments(config.network),
  ...(config.defaultBinding === undefined ? [] : ['--ip', config.defaultBinding]),
  ...(config.registries.registriesConf === undefined ? [] : ['--registries-conf', config.registries.registriesConf]),
  ...config.registries.insecureRegistries.flatMap((registry) => ['--insecure-registry', registry]),
  ...config.registries.registryMirrors.flatMap((mirror) => ['--registry-mirror', mirror]),
  ...(config.trust.signaturePolicy === undefined ? [] : ['--signature-policy', config.trust.signaturePolicy]),
  ...(config.trust.registriesFolder === undefined ? [] : ['--registries-d', config.trust.registriesFolder]),
  '--max-concurrent-downloads',
  String(config.maxConcurrentDownloads),
  '--max-concurrent-uploads',
  String(config.maxConcurrentUploads),
  ...(config.imageGC === undefined
    ? []
    : ['--image-gc-high', formatThreshold(config.imageGC.high), '--image-gc-low', formatThreshold(config.imageGC.low)]),
  ...(config.criuPath === undefined ? [] : ['--criu-path', config.criuPath]),
  ...eventArguments(config.events),
  ...(config.cdiFolders.join(':') === standardCdiFolders.join(':')
    ? []
    : config.cdiFolders.flatMap((folder) => ['--cdi-spec-dir', folder])),
];

/** What `tare serve` does beside opening an engine, by the file's word. */
export function serveSettings(configFile?: string, own: DefaultFolders = machineFolders): ServeSettings {
  return readConfigFile(configFile, own.configFile);
}

export type ServeSettings = Pick<
  ConfigFile,
  | 'hosts'
  | 'insecure-tcp'
  | 'allowed-hosts'
  | 'allowed-origins'
  | 'group'
  | 'socket-mode'
  | 'tls'
  | 'tlsverify'
  | 'tlscacert'
  | 'tlscert'
  | 'tlskey'
  | 'audit'
  | 'buildkit-socket'
  | 'metrics-addr'
  | 'log-level'
>;

function wellKnownRuntimes(): RuntimeBinary[] {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  return ['crun', 'runc', 'runsc', 'kata-runtime', 'youki'].flatMap((name) => {
    const path = folders.map((folder) => join(folder, name)).find((candidate) => existsSync(candidate));
    return path === undefined ? [] : [{ name, path, args: [] }];
  });
}

/** Where a file of a container lies on the data root. */
export const containerFolder = (config: EngineConfig, id: string): string => join(config.dataRoot, 'containers', id);
/** Where a container's bundle lies. */
export const bundleFolder = (config: EngineConfig, id: string): string => join(config.execRoot, 'containers', id);
