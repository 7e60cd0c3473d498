import { closeSync, constants, fstatSync, openSync, readFileSync, statSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import { parseDuration } from '../moments.ts';
import { chosenAttributes, parseTag } from './description.ts';

export type ShippingDriver = 'syslog' | 'journald' | 'gelf' | 'fluentd';

/** Options of every driver that sends, and what docker's drivers do with them, `tag` to `env-regex`. */
const described = ['tag', 'labels', 'labels-regex', 'env', 'env-regex'];

const known: Record<ShippingDriver, readonly string[]> = {
  syslog: [
    ...['syslog-address', 'syslog-facility', 'syslog-format', 'syslog-tls-ca-cert', 'syslog-tls-cert'],
    ...['syslog-tls-key', 'syslog-tls-skip-verify', ...described],
  ],
  journald: described,
  gelf: [
    ...['gelf-address', 'gelf-compression-type', 'gelf-compression-level', 'gelf-tcp-max-reconnect'],
    ...['gelf-tcp-reconnect-delay', ...described],
  ],
  fluentd: [
    ...['fluentd-address', 'fluentd-async', 'fluentd-async-connect', 'fluentd-async-reconnect-interval'],
    ...['fluentd-buffer-limit', 'fluentd-retry-wait', 'fluentd-max-retries', 'fluentd-request-ack'],
    ...['fluentd-sub-second-precision', 'fluentd-write-timeout', ...described],
  ],
};

export const shippingDrivers = Object.keys(known) as ShippingDriver[];
export const isShippingDriver = (type: string): type is ShippingDriver => Object.hasOwn(known, type);
export const takesOption = (driver: ShippingDriver, option: string): boolean => known[driver].includes(option);

type Options = Readonly<Record<string, string>>;

/** Where a collector listens. */
export type CollectorAddress =
  | { transport: 'udp' | 'tcp' | 'tls'; host: string; port: number }
  | { transport: 'unix' | 'unixgram'; path: string };

/**
 * Checks the values of a driver's options.
 * @throws {TareError} InvalidArgument, naming the option
 */
export function checkShippingOptions(driver: ShippingDriver, options: Options): void {
  parseTag(options['tag']);
  chosenAttributes(options);
  switch (driver) {
    case 'syslog':
      syslogOptions(options);
      return;
    case 'gelf':
      gelfOptions(options);
      return;
    case 'fluentd':
      fluentdOptions(options);
      return;
    case 'journald':
  }
}

/** RFC 5424 section 6.2.1, with syslog(3)'s names. */
const facilities = [
  ...['kern', 'user', 'mail', 'daemon', 'auth', 'syslog', 'lpr', 'news', 'uucp', 'cron', 'authpriv', 'ftp'],
  ...['', '', '', '', 'local0', 'local1', 'local2', 'local3', 'local4', 'local5', 'local6', 'local7'],
];
const DAEMON = 3;
const syslogFormats = ['', 'rfc3164', 'rfc5424', 'rfc5424micro'] as const;

export interface SyslogOptions {
  /** undefined: the host's own */
  address: CollectorAddress | undefined;
  facility: number;
  format: (typeof syslogFormats)[number];
  tls: { ca?: string; cert?: string; key?: string; rejectUnauthorized: boolean };
}

export function syslogOptions(options: Options): SyslogOptions {
  const text = options['syslog-address'] ?? '';
  const address =
    text === ''
      ? undefined
      : parseCollector('syslog-address', text, ['udp', 'tcp', 'tcp+tls', 'unix', 'unixgram'], 514);
  if (address !== undefined && 'path' in address && statSync(address.path, { throwIfNoEntry: false }) === undefined)
    throw refused('syslog-address', `no socket at ${address.path}`);
  const format = syslogFormats.find((one) => one === (options['syslog-format'] ?? ''));
  if (format === undefined)
    throw refused('syslog-format', 'Invalid syslog format: want rfc3164, rfc5424, rfc5424micro');
  const isTls = address?.transport === 'tls';
  return {
    address,
    format,
    facility: facility(options['syslog-facility'] ?? ''),
    tls: {
      ...(isTls ? tlsFiles(options) : {}),
      rejectUnauthorized: !flag(options, 'syslog-tls-skip-verify', false),
    },
  };
}

function facility(text: string): number {
  if (text === '') return DAEMON;
  const named = facilities.indexOf(text);
  const number = named === -1 && /^\d{1,2}$/.test(text) ? Number(text) : named;
  if (number >= 0 && number < facilities.length) return number;
  throw refused('syslog-facility', `invalid syslog facility: ${text}`);
}

function tlsFiles(options: Options): { ca?: string; cert?: string; key?: string } {
  const file = (option: string): string | undefined => {
    const path = options[option];
    if (path === undefined || path === '') return undefined;
    try {
      return readPem(path);
    } catch (error) {
      throw refused(option, (error as Error).message);
    }
  };
  const [ca, cert, key] = [file('syslog-tls-ca-cert'), file('syslog-tls-cert'), file('syslog-tls-key')];
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

const MAX_PEM_BYTES = 1024 * 1024;

/** Whoever may create containers names the file: it may be a pipe, which nobody opens at its other end, or have no end. */
function readPem(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(fd);
    if (!status.isFile() || status.size > MAX_PEM_BYTES)
      throw new Error(`${path} is no regular file of ${MAX_PEM_BYTES} bytes at most`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

export interface GelfOptions {
  address: CollectorAddress & { host: string };
  compression: 'gzip' | 'zlib' | 'none';
  /** -1 to 9, as zlib has them. */
  level: number;
}

export function gelfOptions(options: Options): GelfOptions {
  const text = options['gelf-address'] ?? '';
  if (text === '') throw refused('gelf-address', 'is a required parameter');
  const address = parseCollector('gelf-address', text, ['udp', 'tcp'], undefined) as GelfOptions['address'];
  const isTcp = address.transport === 'tcp';
  const given = (option: string) => options[option] !== undefined;
  for (const option of ['gelf-compression-type', 'gelf-compression-level'])
    if (isTcp && given(option)) throw refused(option, 'compression is only supported on UDP');
  for (const option of ['gelf-tcp-max-reconnect', 'gelf-tcp-reconnect-delay']) {
    if (!isTcp && given(option)) throw refused(option, 'is only supported for TCP');
    count(options, option, 0);
  }
  const compression = options['gelf-compression-type'] ?? 'gzip';
  if (compression !== 'gzip' && compression !== 'zlib' && compression !== 'none')
    throw refused('gelf-compression-type', 'must be one of "gzip", "zlib" or "none"');
  const level = options['gelf-compression-level'] ?? '1';
  if (!/^(-1|\d)$/.test(level)) throw refused('gelf-compression-level', `want -1 to 9, not "${level}"`);
  return { address, compression, level: Number(level) };
}

export interface FluentdOptions {
  address: CollectorAddress;
  /** A start does not ask whether the collector is there. */
  isAsync: boolean;
  hasSubSeconds: boolean;
  wantsAck: boolean;
  /** 0: none */
  writeTimeoutMs: number;
}

export function fluentdOptions(options: Options): FluentdOptions {
  const text = options['fluentd-address'] ?? '';
  const withScheme = text === '' ? 'tcp://localhost' : text.includes('://') ? text : `tcp://${text}`;
  const address = parseCollector('fluentd-address', withScheme, ['tcp', 'tls', 'unix'], 24_224);
  if (options['fluentd-async'] !== undefined && options['fluentd-async-connect'] !== undefined)
    throw refused('fluentd-async', 'and fluentd-async-connect are the same: give one');
  count(options, 'fluentd-max-retries', 0);
  duration(options, 'fluentd-async-reconnect-interval', 0);
  duration(options, 'fluentd-retry-wait', 0);
  const limit = options['fluentd-buffer-limit'];
  if (limit !== undefined && !/^\d{1,15}(\.\d+)? ?[kmgt]?i?b?$/i.test(limit))
    throw refused('fluentd-buffer-limit', `invalid size: '${limit}'`);
  return {
    address,
    isAsync: flag(options, 'fluentd-async', false) || flag(options, 'fluentd-async-connect', false),
    hasSubSeconds: flag(options, 'fluentd-sub-second-precision', false),
    wantsAck: flag(options, 'fluentd-request-ack', false),
    writeTimeoutMs: duration(options, 'fluentd-write-timeout', 0),
  };
}

function parseCollector(
  option: string,
  text: string,
  schemes: readonly string[],
  defaultPort: number | undefined,
): CollectorAddress {
  const [, scheme = '', rest = ''] = /^([a-z+]+):\/\/(.*)$/.exec(text) ?? [];
  if (!schemes.includes(scheme))
    throw refused(option, `want ${schemes.map((one) => `${one}://`).join(', ')}, not "${text}"`);
  if (scheme === 'unix' || scheme === 'unixgram') {
    if (!rest.startsWith('/')) throw refused(option, `"${text}": want an absolute path`);
    return { transport: scheme, path: rest };
  }
  const [, v6, name, port = defaultPort === undefined ? '' : String(defaultPort)] =
    /^(?:\[([\da-fA-F:.]+)\]|([^:/?#[\]\s]+))(?::(\d{1,5}))?\/?$/.exec(rest) ?? [];
  const host = v6 ?? name;
  if (host === undefined || port === '' || Number(port) < 1 || Number(port) > 65_535)
    throw refused(option, `"${text}": want ${scheme}://HOST:PORT`);
  return { transport: scheme === 'tcp+tls' ? 'tls' : (scheme as 'udp' | 'tcp' | 'tls'), host, port: Number(port) };
}

/** strconv.ParseBool's words. */
export function flag(options: Options, option: string, otherwise: boolean): boolean {
  const text = options[option];
  if (text === undefined) return otherwise;
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw refused(option, `want true or false, not "${text}"`);
}

function count(options: Options, option: string, otherwise: number): number {
  const text = options[option];
  if (text === undefined) return otherwise;
  if (!/^\d{1,9}$/.test(text)) throw refused(option, `must be a positive integer, not "${text}"`);
  return Number(text);
}

function duration(options: Options, option: string, otherwiseMs: number): number {
  const text = options[option];
  if (text === undefined) return otherwiseMs;
  const seconds = parseDuration(text);
  if (seconds === undefined || seconds < 0)
    throw refused(option, `invalid duration "${text}": write it like 500ms or 2s`);
  return Math.min(seconds * 1000, 2 ** 31 - 1);
}

const refused = (option: string, why: string) => new TareError('InvalidArgument', `log opt ${option}: ${why}`);
