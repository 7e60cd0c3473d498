import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { CacheUsage } from '../../build/index.ts';
import { control } from '../../protocol/index.ts';

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
