import type { CacheUsage } from '../../../build/index.ts';
import type { ApiVersion } from '../version.ts';
import { timestamp } from './time.ts';

/** docker has no word for a file of a web server. */
const typeOf = (recordType: string): string => (recordType === 'source.http' ? 'regular' : recordType);

/** A line of the build cache, in `GET /system/df`. */
export function cacheUsageOf(usage: CacheUsage, version: ApiVersion) {
  return {
    ID: usage.id,
    ...(version < 42
      ? { Parent: usage.parents[0] ?? '' }
      : usage.parents.length > 0 && { Parents: [...usage.parents] }),
    Type: typeOf(usage.recordType),
    Description: usage.description,
    InUse: usage.isInUse,
    Shared: usage.isShared,
    Size: usage.sizeBytes,
    CreatedAt: timestamp(usage.createdMs),
    LastUsedAt: usage.lastUsedMs === undefined ? null : timestamp(usage.lastUsedMs),
    UsageCount: usage.usageCount,
  };
}
