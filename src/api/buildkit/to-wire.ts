import { hostname } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { CachePrune, CacheUsage } from '../../build/index.ts';
import type { BuildWorker } from '../../engine/index.ts';
import { control, PlatformSchema, worker } from '../../protocol/index.ts';

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

export function workerRecord(
  { id, platforms, hostAddress }: BuildWorker,
  policy: readonly CachePrune[],
  version: worker.BuildkitVersion,
): worker.WorkerRecord {
  const labels: Record<string, string> = {
    executor: 'oci',
    hostname: hostname(),
    network: 'bridge',
    // By this buildx knows that all exporters and caches are to be had here.
    snapshotter: 'overlayfs',
    ...(hostAddress === undefined ? {} : { 'moby.host-gateway-ip': hostAddress }),
  };
  return create(worker.WorkerRecordSchema, {
    ID: id,
    Labels: Object.fromEntries(
      Object.entries(labels).map(([name, value]) => [`org.mobyproject.buildkit.worker.${name}`, value]),
    ),
    platforms: platforms.map(({ os, architecture, variant = '' }) =>
      create(PlatformSchema, { OS: os, Architecture: architecture, Variant: variant }),
    ),
    GCPolicy: policy.map(policyMessage),
    BuildkitVersion: version,
  });
}

/** Times are in nanoseconds there. */
function policyMessage(rule: CachePrune): worker.GCPolicy {
  return create(worker.GCPolicySchema, {
    all: rule.all,
    filters: [...rule.filters],
    keepDuration: BigInt(Math.trunc(rule.keepDurationMs ?? 0)) * 1_000_000n,
    reservedSpace: BigInt(Math.trunc(rule.reservedSpaceBytes ?? 0)),
    maxUsedSpace: BigInt(Math.trunc(rule.maxUsedSpaceBytes ?? 0)),
    minFreeSpace: BigInt(Math.trunc(rule.minFreeSpaceBytes ?? 0)),
  });
}
