import { statfsSync } from 'node:fs';
import type { CachePrune } from '../build-types.ts';

const HOUR_MS = 3_600_000;

/** What of the cache goes by itself, rule by rule. */
export type CachePolicy = readonly CachePrune[];

/** Sizes that a user set for the whole. */
export interface CacheLimits {
  reservedSpaceBytes?: number;
  maxUsedSpaceBytes?: number;
  minFreeSpaceBytes?: number;
}

/**
 * BuildKit's rules: what is easily had again goes after two days, everything after two months of rest, and beyond the limits what was unused
 * for longest, first without and then with what only the builder itself needs. Unless the user says otherwise, a tenth of the disk is the
 * cache's, six tenths are the most, and two tenths stay free.
 */
export function defaultPolicy(directory: string, limits: CacheLimits = {}): CachePolicy {
  const { blocks, bsize } = statfsSync(directory);
  const disk = blocks * bsize;
  const sizes = {
    reservedSpaceBytes: limits.reservedSpaceBytes ?? Math.floor(disk * 0.1),
    maxUsedSpaceBytes: limits.maxUsedSpaceBytes ?? Math.floor(disk * 0.6),
    minFreeSpaceBytes: limits.minFreeSpaceBytes ?? Math.floor(disk * 0.2),
  };
  return [
    {
      filters: ['type==source.local', 'type==exec.cachemount', 'type==source.git.checkout'],
      ...{ all: false, keepDurationMs: 48 * HOUR_MS, maxUsedSpaceBytes: 512 << 20 },
    },
    { filters: [], all: false, keepDurationMs: 60 * 24 * HOUR_MS, ...sizes },
    { filters: [], all: false, ...sizes },
    { filters: [], all: true, ...sizes },
  ];
}
