import { TareError } from '../errors/index.ts';
import type { HostConfig } from '../runtime/index.ts';
import {
  checkShippingOptions,
  isShippingDriver,
  type ShippingDriver,
  shippingDrivers,
  takesOption,
} from './log-shipping/index.ts';

type KeepingDriver = 'json-file' | 'local' | 'k8s-file' | 'none';

/** How a container's output is kept, with docker's names. All but `none` are conmon's k8s-file on disk. */
export interface LogSettings {
  type: KeepingDriver | ShippingDriver;
  /** The keeper rotates a log that has grown beyond; 0: never. */
  maxSizeBytes: number;
  /** Files kept, the current one included. */
  maxFiles: number;
  /** conmon starts over, losing what is in the file, each time it has written so much; 0: never. */
  hardLimitBytes: number;
  /** Rotated old files are compressed. */
  compresses: boolean;
  /** The sizes are the user's, or the driver's promise: a keeper is needed for them. */
  needsRotation: boolean;
  /** Whether `logs` may read it. */
  isReadable: boolean;
}

/** Docker's for `local` and for what it keeps beside a driver that sends. */
const small = { maxSizeBytes: 20_000_000, maxFiles: 5 };
/** What docker lets grow without a limit. */
const large = { maxSizeBytes: 500_000_000, maxFiles: 4 };
const unlimited = { maxSizeBytes: 0, maxFiles: 1 };
const defaults: Record<KeepingDriver, Pick<LogSettings, 'maxSizeBytes' | 'maxFiles'>> = {
  'json-file': large,
  'k8s-file': large,
  local: small,
  none: unlimited,
};
/** What a `create` may name. */
export const logDrivers = [...shippingDrivers, ...Object.keys(defaults)].sort();

const describing = new Set(['labels', 'labels-regex', 'env', 'env-regex', 'tag']);
const isKeepingDriver = (type: string): type is KeepingDriver => Object.hasOwn(defaults, type);

const units: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };
const LEAST_HARD_LIMIT_BYTES = 2 ** 30;
const MAX_FILES = 1000;

/**
 * @param config a type ('' is json-file) and its options
 * @throws {TareError} InvalidArgument: a driver or option that we do not have, or a value that it does not take
 */
export function parseLogOptions(config: HostConfig['logConfig']): LogSettings {
  const type = config.type === '' || config.type === 'default' ? 'json-file' : config.type;
  const isShipping = isShippingDriver(type);
  if (!isShipping && !isKeepingDriver(type)) {
    const known = [...Object.keys(defaults), ...shippingDrivers].join(', ');
    throw new TareError('InvalidArgument', `logger: no log driver named '${type}' is registered: use ${known}`);
  }
  const prefix = isShipping ? 'cache-' : '';
  const given = new Map(Object.entries(config.config));
  const settings: LogSettings = {
    type,
    ...(isShipping ? small : defaults[type]),
    hardLimitBytes: 0,
    compresses: isShipping || type === 'local',
    needsRotation: false,
    isReadable: type !== 'none',
  };
  for (const [name, value] of given) {
    if (name === 'mode' || name === 'max-buffer-size') checkDelivery(name, value, given.get('mode'));
    else if (name === 'cache-disabled') settings.isReadable &&= !parseFlag(name, value) || !isShipping;
    else if (isShipping && takesOption(type, name)) continue;
    else if (type !== 'none' && name === `${prefix}max-size`) settings.maxSizeBytes = parseSize(name, value);
    else if (type !== 'none' && name === `${prefix}max-file`) settings.maxFiles = parseCount(name, value);
    else if (type !== 'none' && name === `${prefix}compress`) settings.compresses = parseFlag(name, value);
    else if (isShipping || type === 'none' || !describing.has(name))
      throw new TareError('InvalidArgument', `unknown log opt '${name}' for ${type} log driver`);
  }
  if (isShipping) checkShippingOptions(type, config.config);
  const hasSize = given.has(`${prefix}max-size`);
  const hasFiles = given.has(`${prefix}max-file`);
  if (type === 'json-file' || type === 'k8s-file') {
    if (hasFiles && settings.maxFiles > 1 && !hasSize)
      throw new TareError('InvalidArgument', `log opt max-file=${settings.maxFiles}: needs max-size as well`);
    // As docker has it: one file, unless more are asked for.
    if (hasSize && !hasFiles) settings.maxFiles = 1;
  }
  if (settings.maxSizeBytes === 0) Object.assign(settings, unlimited);
  const isDefault = !hasSize && !hasFiles && !isShipping && defaults[type] === large;
  settings.needsRotation = !isDefault && settings.maxSizeBytes > 0 && settings.maxFiles > 1;
  settings.hardLimitBytes = isDefault ? 2 * settings.maxSizeBytes * settings.maxFiles : hardLimit(settings);
  return settings;
}

/** A container's log settings with the engine's own where it says nothing: the driver, and options of that very driver. */
export function withLogDefaults(own: HostConfig['logConfig'], usual: HostConfig['logConfig']): HostConfig['logConfig'] {
  const type = own.type === '' || own.type === 'default' ? usual.type : own.type;
  return type === usual.type ? { type, config: { ...usual.config, ...own.config } } : { ...own, type };
}

/** The container never waits for a collector, whichever mode: what it writes is on disk first. */
function checkDelivery(name: string, value: string, mode: string | undefined): void {
  if (name === 'max-buffer-size') {
    if (mode !== 'non-blocking')
      throw new TareError(
        'InvalidArgument',
        "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
      );
    parseSize(name, value);
  } else if (value !== 'blocking' && value !== 'non-blocking')
    throw new TareError('InvalidArgument', `logger: logging mode not supported: ${value}`);
}

/**
 * With one file, starting over is what is wanted, and conmon does it alone. With several it is the net beneath the keeper, and
 * far below it: conmon counts on over a rotation, so that a keeper that does its work does not stop it from starting over.
 */
function hardLimit({ maxSizeBytes, maxFiles }: Pick<LogSettings, 'maxSizeBytes' | 'maxFiles'>): number {
  if (maxFiles === 1) return maxSizeBytes;
  return Math.max(16 * maxSizeBytes * maxFiles, LEAST_HARD_LIMIT_BYTES);
}

/** docker's human sizes, in powers of 1000: `10m`, `1.5GB`; `-1` is none. */
function parseSize(name: string, text: string): number {
  if (text === '-1') return 0;
  const match = /^(\d{1,15}(?:\.\d{1,9})?) ?([kmgtp]?)i?b?$/i.exec(text.trim());
  if (match === null) throw new TareError('InvalidArgument', `log opt ${name}: invalid size: '${text}'`);
  const bytes = Math.floor(Number(match[1]) * units[match[2]!.toLowerCase()]!);
  if (bytes <= 0 || !Number.isSafeInteger(bytes)) {
    throw new TareError('InvalidArgument', `log opt ${name}: must be a positive number, not '${text}'`);
  }
  return bytes;
}

function parseCount(name: string, text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_FILES) {
    throw new TareError('InvalidArgument', `log opt ${name}: want a number from 1 to ${MAX_FILES}, not '${text}'`);
  }
  return count;
}

function parseFlag(name: string, text: string): boolean {
  if (/^(1|t|true)$/i.test(text)) return true;
  if (/^(0|f|false)$/i.test(text)) return false;
  throw new TareError('InvalidArgument', `log opt ${name}: want true or false, not '${text}'`);
}
