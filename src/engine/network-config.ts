import { isAbsolute } from 'node:path';
import { TareError } from '../errors/index.ts';
import { isIP } from '../linux/index.ts';
import {
  type AddressPool,
  type CniPaths,
  checkPools,
  type DefaultNetwork,
  standardCniPaths,
} from '../network/index.ts';

/** What an engine is told of its networks beyond the default one's subnet; undefined: as usual. */
export interface NetworkConfig {
  /** Blocks that networks without a subnet are cut from. */
  pools?: AddressPool[];
  /** What the default network is like. */
  defaultNetwork: DefaultNetwork;
  /** Options of new networks that do not say otherwise, by driver. */
  defaultOptions: DefaultOptions;
  cni: CniPaths;
  /** Whether the conflists are this engine's alone: then their plugins may drop what no container of ours has. */
  ownsCni: boolean;
}

type DefaultOptions = Record<string, Record<string, string>>;

/** dockerd's names, of flags and of keys in the file. */
export interface NetworkFlags {
  'default-address-pools'?: (AddressPool | string)[];
  'default-network-opts'?: DefaultOptions | string[];
  bip6?: string;
  'fixed-cidr'?: string;
  'fixed-cidr-v6'?: string;
  'default-gateway'?: string;
  'default-gateway-v6'?: string;
  mtu?: number;
  icc?: boolean;
  'ip-masq'?: boolean;
  'cni-conf-dir'?: string;
  'cni-bin-dirs'?: string[];
  'cni-gc'?: boolean;
}

/** @throws {TareError} InvalidArgument: the key, the value and what would be right */
export function parseNetworkConfig(flags: NetworkFlags, file: NetworkFlags): NetworkConfig {
  const given = <K extends keyof NetworkFlags>(key: K): NetworkFlags[K] => flags[key] ?? file[key];
  const subnet = (key: 'bip6' | 'fixed-cidr' | 'fixed-cidr-v6', family: 4 | 6) =>
    checked(key, given(key), /^[^/]+\/\d{1,3}$/, family);
  const gateway = (key: 'default-gateway' | 'default-gateway-v6', family: 4 | 6) =>
    checked(key, given(key), /^[^/]+$/, family);
  const pools = given('default-address-pools')?.map((pool) => (typeof pool === 'string' ? parsePool(pool) : pool));
  if (pools !== undefined) checkPools(pools);
  const mtu = given('mtu');
  if (mtu !== undefined && mtu !== 0 && (mtu < 68 || mtu > 65_535)) {
    throw new TareError('InvalidArgument', `invalid mtu ${mtu}: want 68 to 65535`);
  }
  const defaultNetwork = {
    subnet6: subnet('bip6', 6),
    range: subnet('fixed-cidr', 4),
    range6: subnet('fixed-cidr-v6', 6),
    gateway: gateway('default-gateway', 4),
    gateway6: gateway('default-gateway-v6', 6),
    mtu: mtu === 0 ? undefined : mtu,
    icc: given('icc'),
    masquerade: given('ip-masq'),
  };
  const cni = {
    confDir: given('cni-conf-dir') ?? standardCniPaths.confDir,
    binDirs: given('cni-bin-dirs') ?? standardCniPaths.binDirs,
  };
  for (const folder of [cni.confDir, ...cni.binDirs]) {
    // They become CNI_PATH, which colons separate.
    if (isAbsolute(folder) && !/[:\0]/.test(folder)) continue;
    throw new TareError('InvalidArgument', `invalid folder of CNI ${JSON.stringify(folder)}: want an absolute path`);
  }
  return {
    cni,
    ownsCni: given('cni-gc') ?? false,
    ...(pools === undefined || pools.length === 0 ? {} : { pools }),
    defaultOptions: parseDefaultOptions(given('default-network-opts') ?? {}),
    defaultNetwork: Object.fromEntries(Object.entries(defaultNetwork).filter(([, value]) => value !== undefined)),
  };
}

function checked(key: string, text: string | undefined, shape: RegExp, family: 4 | 6): string | undefined {
  if (text === undefined || text === '') return undefined;
  const [address = ''] = text.split('/');
  if (shape.test(text) && isIP(address) === family && !address.includes('%')) return text;
  throw new TareError(
    'InvalidArgument',
    `invalid ${key} ${JSON.stringify(text)}: want IPv${family}, like ${likes[key]}`,
  );
}

const likes: Record<string, string> = {
  bip6: 'fd00:9::1/64',
  'fixed-cidr': '10.9.1.0/24',
  'fixed-cidr-v6': 'fd00:9::/80',
  'default-gateway': '10.9.0.254',
  'default-gateway-v6': 'fd00:9::fe',
};

/** dockerd's `base=10.10.0.0/16,size=24`. */
function parsePool(text: string): AddressPool {
  const fields = new Map(text.split(',').map((field) => field.split(/=(.*)/s, 2) as [string, string | undefined]));
  const size = fields.get('size') ?? '';
  const isKnown = [...fields.keys()].every((key) => key === 'base' || key === 'size');
  if (!isKnown || !/^\d{1,3}$/.test(size)) {
    throw new TareError(
      'InvalidArgument',
      `invalid default-address-pool ${JSON.stringify(text)}: want base=SUBNET,size=PREFIX like base=10.10.0.0/16,size=24`,
    );
  }
  return { base: fields.get('base') ?? '', size: Number(size) };
}

/** dockerd's `bridge=com.docker.network.driver.mtu=1234`, or tables by driver. */
function parseDefaultOptions(given: DefaultOptions | string[]): DefaultOptions {
  if (!Array.isArray(given)) return given;
  const options: DefaultOptions = {};
  for (const text of given) {
    const [, driver = '', key = '', value = ''] = /^([a-z]+)=([^=]+)=(.*)$/s.exec(text) ?? [];
    if (driver === '') {
      throw new TareError(
        'InvalidArgument',
        `invalid default-network-opt ${JSON.stringify(text)}: want DRIVER=OPTION=VALUE like bridge=com.docker.network.driver.mtu=1234`,
      );
    }
    options[driver] = { ...options[driver], [key]: value };
  }
  return options;
}

/** The flags that say the same to another process. */
export function networkArguments({
  pools = [],
  defaultNetwork,
  defaultOptions,
  cni,
  ownsCni,
}: NetworkConfig): string[] {
  const { subnet6, range, range6, gateway, gateway6, mtu, icc, masquerade } = defaultNetwork;
  const texts = {
    '--bip6': subnet6,
    '--fixed-cidr': range,
    '--fixed-cidr-v6': range6,
    '--default-gateway': gateway,
    '--default-gateway-v6': gateway6,
    '--mtu': mtu,
  };
  return [
    ...pools.flatMap(({ base, size }) => ['--default-address-pool', `base=${base},size=${size}`]),
    ...Object.entries(defaultOptions).flatMap(([driver, options]) =>
      Object.entries(options).flatMap(([key, value]) => ['--default-network-opt', `${driver}=${key}=${value}`]),
    ),
    ...Object.entries(texts).flatMap(([flag, value]) => (value === undefined ? [] : [flag, String(value)])),
    ...(icc === undefined ? [] : [`--icc=${icc}`]),
    ...(masquerade === undefined ? [] : [`--ip-masq=${masquerade}`]),
    ...(cni.confDir === standardCniPaths.confDir ? [] : ['--cni-conf-dir', cni.confDir]),
    ...(cni.binDirs.join(':') === standardCniPaths.binDirs.join(':')
      ? []
      : cni.binDirs.flatMap((folder) => ['--cni-bin-dir', folder])),
    ...(ownsCni ? ['--cni-gc'] : []),
  ];
}

/** For the check of the configuration file. */
export const isPoolList = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.every((pool) => typeof pool === 'object' && typeof pool?.base === 'string' && Number.isSafeInteger(pool?.size));

/** For the check of the configuration file. */
export const areDriverOptions = (value: unknown): boolean =>
  isTable(value) &&
  Object.values(value).every(
    (options) => isTable(options) && Object.values(options).every((text) => typeof text === 'string'),
  );

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
