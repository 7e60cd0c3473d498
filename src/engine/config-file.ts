import { existsSync, readFileSync } from 'node:fs';
import { parse as parseToml } from 'smol-toml';
import { TareError } from '../errors/index.ts';
import { areDriverOptions, isPoolList, type NetworkFlags } from './network-config.ts';

/** The configuration file: TOML, with dockerd's names for what dockerd has too. */
export interface ConfigFile extends NetworkFlags {
  'data-root'?: string;
  'exec-root'?: string;
  'default-runtime'?: string;
  'storage-driver'?: string;
  runtimes?: Record<string, { path: string; runtimeArgs?: string[] }>;
  ipv6?: boolean;
  bip?: string;
  ip?: string;
  labels?: string[];
  debug?: boolean;
  experimental?: boolean;
  'criu-path'?: string;
  hosts?: string[];
  'insecure-tcp'?: string[];
  'allowed-hosts'?: string[];
  'allowed-origins'?: string[];
  group?: string;
  'socket-mode'?: string;
  tls?: boolean;
  tlsverify?: boolean;
  tlscacert?: string;
  tlscert?: string;
  tlskey?: string;
  'registries-conf'?: string;
  'insecure-registries'?: string[];
  'registry-mirrors'?: string[];
  'signature-policy'?: string;
  'registries-d'?: string;
  'max-concurrent-downloads'?: number;
  'max-concurrent-uploads'?: number;
  'image-gc'?: { high?: string; low?: string };
  events?: { 'max-age'?: string; 'max-size'?: string };
  'cdi-spec-dirs'?: string[];
  policy?: Record<string, unknown>;
  'buildkit-socket'?: string;
  'metrics-addr'?: string;
  'log-driver'?: string;
  'log-opts'?: Record<string, string>;
  'log-level'?: string;
  builder?: Record<string, unknown>;
  audit?: { path?: string; 'max-size'?: string; 'max-files'?: string };
}

const isText = (value: unknown): boolean => typeof value === 'string';
const isFlag = (value: unknown): boolean => typeof value === 'boolean';
const isCount = (value: unknown): boolean => Number.isSafeInteger(value);
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);
const isRuntimes = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  Object.values(value).every(
    (entry) => isText(entry?.path) && (entry.runtimeArgs === undefined || isTexts(entry.runtimeArgs)),
  );

const isTable = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

const isTextTable = (value: unknown): boolean => isTable(value) && Object.values(value as object).every(isText);

const isTextsOf =
  (...keys: string[]) =>
  (value: unknown): boolean =>
    typeof value === 'object' &&
    value !== null &&
    Object.entries(value).every(([key, text]) => keys.includes(key) && isText(text));

const fileKeys: Record<keyof ConfigFile, [check: (value: unknown) => boolean, want: string]> = {
  'data-root': [isText, 'a path'],
  'exec-root': [isText, 'a path'],
  'default-runtime': [isText, "a runtime's name"],
  'storage-driver': [isText, 'overlay or vfs'],
  runtimes: [isRuntimes, 'tables with path and runtimeArgs'],
  ipv6: [isFlag, 'true or false'],
  bip: [isText, 'a subnet in CIDR form'],
  ip: [isText, 'an IP address'],
  bip6: [isText, 'a subnet in CIDR form'],
  'fixed-cidr': [isText, 'a subnet in CIDR form'],
  'fixed-cidr-v6': [isText, 'a subnet in CIDR form'],
  'default-gateway': [isText, 'an address'],
  'default-gateway-v6': [isText, 'an address'],
  mtu: [isCount, 'a whole number'],
  icc: [isFlag, 'true or false'],
  'ip-masq': [isFlag, 'true or false'],
  'default-address-pools': [isPoolList, 'tables with base and size, such as { base = "10.10.0.0/16", size = 24 }'],
  'default-network-opts': [
    areDriverOptions,
    'tables by driver, such as { bridge = { "com.docker.network.driver.mtu" = "1234" } }',
  ],
  'cni-conf-dir': [isText, 'a path'],
  'cni-bin-dirs': [isTexts, 'a list of paths'],
  'cni-gc': [isFlag, 'true or false'],
  labels: [isTexts, 'a list of KEY=VALUE'],
  debug: [isFlag, 'true or false'],
  experimental: [isFlag, 'true or false'],
  'criu-path': [isText, 'a path'],
  hosts: [isTexts, 'a list of unix:// and tcp:// addresses'],
  'insecure-tcp': [isTexts, 'a list of those tcp:// addresses of hosts that need no client certificate'],
  'allowed-hosts': [isTexts, 'a list of names by which clients call this host'],
  'allowed-origins': [isTexts, 'a list of origins such as https://console.example.com'],
  group: [isText, "a group's name or number"],
  'socket-mode': [isText, 'an octal mode such as "0660"'],
  tls: [isFlag, 'true or false'],
  tlsverify: [isFlag, 'true or false'],
  tlscacert: [isText, 'a path'],
  tlscert: [isText, 'a path'],
  tlskey: [isText, 'a path'],
  'registries-conf': [isText, 'a path'],
  'insecure-registries': [isTexts, 'a list of HOST[:PORT] and subnets'],
  'registry-mirrors': [isTexts, 'a list of https://HOST[:PORT]'],
  'signature-policy': [isText, 'a path'],
  'registries-d': [isText, 'a path'],
  'max-concurrent-downloads': [isCount, 'a whole number'],
  'max-concurrent-uploads': [isCount, 'a whole number'],
  'image-gc': [isTextsOf('high', 'low'), 'a table with high and low, such as "85%" or "50GB"'],
  events: [isTextsOf('max-age', 'max-size'), 'a table with max-age and max-size, such as "168h" and "32m"'],
  'cdi-spec-dirs': [isTexts, 'a list of paths'],
  audit: [
    isTextsOf('path', 'max-size', 'max-files'),
    'a table with path, max-size and max-files, such as "10m" and "5"',
  ],
  'log-driver': [isText, "a log driver's name"],
  'log-opts': [isTextTable, 'a table of texts'],
  'log-level': [isText, 'debug, info, warn, error or fatal'],
  'buildkit-socket': [isText, 'a path'],
  'metrics-addr': [isText, 'ADDRESS:PORT'],
  policy: [isTable, 'a table of what callers may not have'],
  builder: [isTable, 'a table with gc and max-parallelism'],
};

/**
 * Reads and checks the configuration file.
 *
 * @param path the user's word; undefined: the usual one, which may be missing
 * @throws {TareError} InvalidArgument: the file, the key and what would be right
 */
export function readConfigFile(path: string | undefined, usual: string): ConfigFile {
  const file = path ?? usual;
  if (path === undefined && !existsSync(file)) return {};
  let document: Record<string, unknown>;
  try {
    document = parseToml(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new TareError('InvalidArgument', `configuration file ${file}: ${(error as Error).message}`, { cause: error });
  }
  for (const [key, value] of Object.entries(document)) {
    const rule = fileKeys[key as keyof ConfigFile];
    if (rule === undefined) {
      throw new TareError(
        'InvalidArgument',
        `configuration file ${file}: unknown key ${JSON.stringify(key)}: one of ${Object.keys(fileKeys).join(', ')}`,
      );
    }
    if (!rule[0](value)) {
      throw new TareError('InvalidArgument', `configuration file ${file}: ${key}: want ${rule[1]}`);
    }
  }
  return document as ConfigFile;
}
