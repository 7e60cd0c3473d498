import type { HistoryEntry, ImageRecord, ImageSummary, ProgressMessage, RemovedImage } from '../../../engine/index.ts';
import type { ApiVersion } from '../version.ts';
import { timestamp } from './time.ts';

export function imageSummaryOf(image: ImageSummary, version: ApiVersion) {
  return {
    Id: image.id,
    ParentId: '',
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Created: Math.floor(image.createdMs / 1000),
    Size: image.sizeBytes,
    ...(version < 44 && { VirtualSize: image.sizeBytes }),
    SharedSize: image.sharedSizeBytes,
    Labels: Object.keys(image.labels).length > 0 ? image.labels : null,
    Containers: image.containers,
    ...(version >= 48 && { Descriptor: image.manifest }),
  };
}

export function imageInspectOf(image: ImageRecord, version: ApiVersion) {
  const { config } = image;
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parent ?? '',
    Comment: config.comment ?? '',
    ...(config.created !== undefined && { Created: config.created }),
    DockerVersion: '',
    Author: config.author ?? '',
    Config: config.config ?? {},
    Architecture: config.architecture,
    ...(config.variant && { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] && { OsVersion: config['os.version'] }),
    Size: image.sizeBytes,
    ...(version < 44 && { VirtualSize: image.sizeBytes }),
    GraphDriver: { Data: null, Name: 'overlay' },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: timestamp(image.lastTaggedMs) },
    ...(version >= 48 && { Descriptor: image.manifest }),
  };
}

export function historyOf(entry: HistoryEntry) {
  return {
    Id: entry.id,
    Created: Math.floor(entry.createdMs / 1000),
    CreatedBy: entry.createdBy,
    Tags: entry.tags.length > 0 ? entry.tags : null,
    Size: entry.sizeBytes,
    Comment: entry.comment,
  };
}

/** Docker's JSONMessage. */
export function progressOf(message: ProgressMessage) {
  const { currentBytes: current, totalBytes: total } = message;
  return {
    ...(message.stream !== undefined && { stream: message.stream }),
    ...(message.status !== undefined && { status: message.status }),
    ...(current !== undefined && { progressDetail: { current, ...(total !== undefined && { total }) } }),
    ...(message.id !== undefined && { id: message.id }),
  };
}

export function removedOf(removed: RemovedImage) {
  return removed.untagged !== undefined ? { Untagged: removed.untagged } : { Deleted: removed.deleted };
}
