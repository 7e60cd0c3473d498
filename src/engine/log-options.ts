import { TareError } from '../errors/index.ts';
import type { HostConfig } from '../runtime/index.ts';

/** How a container's output is kept, with docker's names. All but `none` are conmon's k8s-file on disk. */
export interface LogSettings {
  type: 'json-file' | 'local' | 'k8s-file' | 'none';
  /** The keeper rotates a log that has grown beyond; 0: never. */
  maxSizeBytes: number;
  /** Files kept, the current one included. */
  maxFiles: number;
  /** conmon starts over, losing what is in the file, each time it has written so much; 0: never. */
  hardLimitBytes: number;
}

const defaults: Record<LogSettings['type'], Pick<LogSettings, 'maxSizeBytes' | 'maxFiles'>> = {
  'json-file': { maxSizeBytes: 0, maxFiles: 1 },
  'k8s-file': { maxSizeBytes: 0, maxFiles: 1 },
  local: { maxSizeBytes: 20_000_000, maxFiles: 5 },
  none: { maxSizeBytes: 0, maxFiles: 1 },
};

const units: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12, p: 1e15 };
const LEAST_HARD_LIMIT_BYTES = 2 ** 30;
const MAX_FILES = 1000;

/**
 * @param config a type ('' is json-file) and its options
 * @throws {TareError} InvalidArgument: a driver or option that we do not have, or a value that it does not take
 */
export function parseLogOptions(config: HostConfig['logConfig']): LogSettings {
  const type = config.type === '' || config.type === 'default' ? 'json-file' : config.type;
  if (!isKnownDriver(type)) {
    throw new TareError(
      'InvalidArgument',
      `logger: no log driver named '${type}' is registered: use ${Object.keys(defaults).join(', ')}`,
    );
  }
  const settings = { type, ...defaults[type], hardLimitBytes: 0 };
  for (const [name, value] of Object.entries(config.config)) {
    if (name === 'max-size' && type !== 'none') settings.maxSizeBytes = parseSize(value);
    else if (name === 'max-file' && type !== 'none') settings.maxFiles = parseCount(value);
    else throw new TareError('InvalidArgument', `unknown log opt '${name}' for ${type} log driver`);
  }
  if (settings.maxFiles > 1 && settings.maxSizeBytes === 0) {
    throw new TareError('InvalidArgument', `log opt max-file=${settings.maxFiles}: needs max-size as well`);
  }
  settings.hardLimitBytes = hardLimit(settings);
  return settings;
}

/**
 * With one file, starting over is what is wanted, and conmon does it alone. With several it is the net beneath the keeper, and
 * far below it: conmon counts on over a rotation, so that a keeper that does its work does not stop it from starting over.
 */
function hardLimit({ maxSizeBytes, maxFiles }: Pick<LogSettings, 'maxSizeBytes' | 'maxFiles'>): number {
  if (maxFiles === 1) return maxSizeBytes;
  return Math.max(16 * maxSizeBytes * maxFiles, LEAST_HARD_LIMIT_BYTES);
}

const isKnownDriver = (type: string): type is LogSettings['type'] => Object.hasOwn(defaults, type);

/** docker's human sizes, in powers of 1000: `10m`, `1.5GB`. */
function parseSize(text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,9})?) ?([kmgtp]?)i?b?$/i.exec(text.trim());
  if (match === null) throw new TareError('InvalidArgument', `log opt max-size: invalid size: '${text}'`);
  const bytes = Math.floor(Number(match[1]) * units[match[2]!.toLowerCase()]!);
  if (bytes <= 0 || !Number.isSafeInteger(bytes)) {
    throw new TareError('InvalidArgument', `log opt max-size: must be a positive number, not '${text}'`);
  }
  return bytes;
}

function parseCount(text: string): number {
  const count = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (count < 1 || count > MAX_FILES) {
    throw new TareError('InvalidArgument', `log opt max-file: want a number from 1 to ${MAX_FILES}, not '${text}'`);
  }
  return count;
}
