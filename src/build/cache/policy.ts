import { statfsSync } from 'node:fs';
import type { CachePrune } from '../build-types.ts';

const HOUR_MS = 3_600_000;
const TEMPORARY_BYTES = 512 << 20;

/** What of the cache goes by itself, rule by rule. */
export type CachePolicy = readonly CachePrune[];

/** Of the file system that the cache lies on, or in bytes. */
export type SpaceLimit = { percent: number } | { bytes: number };

/** Sizes that a user set for the whole, or for a rule. */
export interface CacheLimits {
  reservedSpace?: SpaceLimit;
  maxUsedSpace?: SpaceLimit;
  minFreeSpace?: SpaceLimit;
}

/** A user's rule: records that pass the filters and rested so long go until the limits are kept. */
export interface CacheRule extends CacheLimits {
  filters: readonly string[];
  all: boolean;
  keepDurationMs?: number;
}

/**
 * BuildKit's rules: what is easily had again goes after two days, everything after two months of rest, and beyond the limits what was unused
 * for longest, first without and then with what only the builder itself needs. Unless the user says otherwise, a tenth of the disk is the
 * cache's, six tenths are the most, and two tenths stay free.
 */
export function defaultPolicy(directory: string, limits: CacheLimits = {}): CachePolicy {
  const isAny = Object.values(limits).some((limit) => limit !== undefined);
  const usual = { reservedSpace: { percent: 10 }, maxUsedSpace: { percent: 60 }, minFreeSpace: { percent: 20 } };
  // One limit of the user's is the only one, as dockerd has it.
  const sizes = sizesOf(directory, isAny ? limits : usual);
  return [
    {
      filters: ['type==source.local', 'type==exec.cachemount', 'type==source.git.checkout', 'type==source.http'],
      ...{ all: false, keepDurationMs: 48 * HOUR_MS, maxUsedSpaceBytes: TEMPORARY_BYTES },
    },
    { filters: [], all: false, keepDurationMs: 60 * 24 * HOUR_MS, ...sizes },
    { filters: [], all: false, ...sizes },
    { filters: [], all: true, ...sizes },
  ];
}

/** A user's own rules, with sizes in bytes. */
export const policyOf = (directory: string, rules: readonly CacheRule[]): CachePolicy =>
  rules.map(({ filters, all, keepDurationMs, ...limits }) => ({
    ...{ filters, all },
    ...(keepDurationMs === undefined ? {} : { keepDurationMs }),
    ...sizesOf(directory, limits),
  }));

function sizesOf(directory: string, { reservedSpace, maxUsedSpace, minFreeSpace }: CacheLimits) {
  const { blocks, bsize } = statfsSync(directory);
  const bytes = (limit: SpaceLimit) =>
    'bytes' in limit ? limit.bytes : Math.floor((blocks * bsize * limit.percent) / 100);
  return {
    ...(reservedSpace && { reservedSpaceBytes: bytes(reservedSpace) }),
    ...(maxUsedSpace && { maxUsedSpaceBytes: bytes(maxUsedSpace) }),
    ...(minFreeSpace && { minFreeSpaceBytes: bytes(minFreeSpace) }),
  };
}
