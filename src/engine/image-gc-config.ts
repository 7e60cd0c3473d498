import { TareError } from '../errors/index.ts';

/** How much may be used: of the file system in percent, or by images in bytes. */
export type Threshold = { percent: number } | { bytes: number };

/** When unused images are removed by themselves, and how far. */
export interface ImageGC {
  /** Above this, unused images go. */
  high: Threshold;
  /** Until no more than this is used. */
  low: Threshold;
}

const UNITS: Record<string, number> = {
  ...{ b: 1, kb: 1e3, mb: 1e6, gb: 1e9, tb: 1e12 },
  ...{ k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4, kib: 1024, mib: 1024 ** 2, gib: 1024 ** 3, tib: 1024 ** 4 },
};

/**
 * The thresholds that a user asked for.
 *
 * @param high,low `85%` of the file system, or bytes such as `50GB` that images may occupy
 * @returns undefined: none was asked for, and nothing is removed by itself
 * @throws {TareError} InvalidArgument: what is no threshold, a low one alone or above the high one
 */
export function parseImageGC(high: string | undefined, low: string | undefined): ImageGC | undefined {
  if (high === undefined) {
    if (low === undefined) return undefined;
    throw new TareError('InvalidArgument', `image-gc low ${JSON.stringify(low)} needs a high one beside it`);
  }
  const upper = thresholdAt('high', high);
  const lower = low === undefined ? belowOf(upper) : thresholdAt('low', low);
  if ('percent' in upper !== 'percent' in lower) {
    throw new TareError('InvalidArgument', `image-gc high ${high} and low ${low} must both be percent, or both bytes`);
  }
  if (amountOf(lower) > amountOf(upper)) {
    throw new TareError('InvalidArgument', `image-gc low ${low} is above high ${high}: it must be less or the same`);
  }
  return { high: upper, low: lower };
}

export const amountOf = (threshold: Threshold): number =>
  'percent' in threshold ? threshold.percent : threshold.bytes;

/** As it is written. */
export const formatThreshold = (threshold: Threshold): string =>
  'percent' in threshold ? `${threshold.percent}%` : `${threshold.bytes}B`;

/** Far enough below that the next image does not need another round. */
const belowOf = (high: Threshold): Threshold =>
  'percent' in high ? { percent: Math.max(0, high.percent - 5) } : { bytes: Math.floor(high.bytes * 0.9) };

function thresholdAt(which: string, text: string): Threshold {
  const threshold = parseThreshold(text);
  if (threshold !== undefined) return threshold;
  throw new TareError(
    'InvalidArgument',
    `invalid image-gc ${which} ${JSON.stringify(text)}: want percent of the disk such as 85%, or bytes such as 50GB`,
  );
}

/** @returns undefined: neither `85%` nor bytes such as `50GB` */
export function parseThreshold(text: string): Threshold | undefined {
  const [, number, unit] = /^(\d{1,15}(?:\.\d{1,3})?)\s*(%|[a-zA-Z]*)$/.exec(text.trim()) ?? [];
  if (number === undefined) return undefined;
  if (unit === '%') return Number(number) <= 100 ? { percent: Number(number) } : undefined;
  const factor = UNITS[unit?.toLowerCase() || 'b'];
  return factor === undefined ? undefined : { bytes: Math.floor(Number(number) * factor) };
}
