import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { CachePrune, CacheUsage } from '../../build/index.ts';
import { control, worker } from '../../protocol/index.ts';

export function usageMessage(usage: CacheUsage): control.UsageRecord {
  return create(control.UsageRecordSchema, {
    ID: usage.id,
    Mutable: usage.isMutable,
    InUse: usage.isInUse,
    Size: BigInt(Math.trunc(usage.sizeBytes)),
    CreatedAt: timestampFromMs(usage.createdMs),
    ...(usage.lastUsedMs === undefined ? {} : { LastUsedAt: timestampFromMs(usage.lastUsedMs) }),
    UsageCount: BigInt(usage.usageCount),
    Description: usage.description,
    RecordType: usage.recordType,
    Shared: usage.isShared,
    Parents: [...usage.parents],
  });
}

/** A rule of the cache's policy; times are in nanoseconds there. */
export const policyMessage = (rule: CachePrune): worker.GCPolicy =>
  create(worker.GCPolicySchema, {
    all: rule.all,
    filters: [...rule.filters],
    keepDuration: BigInt(Math.trunc(rule.keepDurationMs ?? 0)) * 1_000_000n,
    reservedSpace: BigInt(rule.reservedSpaceBytes ?? 0),
    maxUsedSpace: BigInt(rule.maxUsedSpaceBytes ?? 0),
    minFreeSpace: BigInt(rule.minFreeSpaceBytes ?? 0),
  });
