import { TareError } from '../errors/index.ts';
import { DEFAULT_EVENT_LIMITS, type EventLimits } from '../state/index.ts';
import { parseDuration } from './moments.ts';

const UNITS: Record<string, number> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const LEAST_BYTES = 64 * 1024;

/**
 * How long events are kept, as a user says it.
 *
 * @param maxAge a duration such as `168h`
 * @param maxSize bytes such as `32m`, of 1024 times 1024 each
 * @throws {TareError} InvalidArgument: what is neither, or too little to be of use
 */
export function parseEventLimits(maxAge: string | undefined, maxSize: string | undefined): EventLimits {
  return {
    maxAgeSeconds: maxAge === undefined ? DEFAULT_EVENT_LIMITS.maxAgeSeconds : parseAge(maxAge),
    maxBytes: maxSize === undefined ? DEFAULT_EVENT_LIMITS.maxBytes : parseSize(maxSize),
  };
}

/** As it is written for another process. */
export const eventArguments = ({ maxAgeSeconds, maxBytes }: EventLimits): string[] => [
  ...(maxAgeSeconds === DEFAULT_EVENT_LIMITS.maxAgeSeconds ? [] : ['--events-max-age', `${maxAgeSeconds}s`]),
  ...(maxBytes === DEFAULT_EVENT_LIMITS.maxBytes ? [] : ['--events-max-size', String(maxBytes)]),
];

function parseAge(text: string): number {
  const seconds = parseDuration(text) ?? 0;
  if (seconds >= 1) return seconds;
  throw new TareError(
    'InvalidArgument',
    `invalid events max-age ${JSON.stringify(text)}: want a duration such as 168h, 1s at least`,
  );
}

function parseSize(text: string): number {
  const [, number, unit] = /^(\d{1,12})\s*([kmg]?)(?:i?b)?$/i.exec(text.trim()) ?? [];
  const bytes = Number(number ?? 0) * (UNITS[unit?.toLowerCase() ?? ''] ?? 1);
  if (bytes >= LEAST_BYTES) return bytes;
  throw new TareError(
    'InvalidArgument',
    `invalid events max-size ${JSON.stringify(text)}: want bytes such as 32m, 64k at least`,
  );
}
