import type {
  HistoryEntry,
  ImageSummary,
  ImageView,
  ManifestSummary,
  ProgressMessage,
  RemovedImage,
} from '../../../engine/index.ts';
import type { ApiVersion } from '../version.ts';
import { progressBar } from './progress-bar.ts';
import { timestamp } from './time.ts';

export function imageSummaryOf(image: ImageSummary, version: ApiVersion) {
  return {
    Id: image.id,
    ParentId: '',
    ...namesOf(image, version),
    Created: Math.floor(image.createdMs / 1000),
    Size: image.sizeBytes,
    ...(version < 44 && { VirtualSize: image.sizeBytes }),
    SharedSize: image.sharedSizeBytes,
    Labels: Object.keys(image.labels).length > 0 ? image.labels : null,
    Containers: version >= 51 ? image.containers : -1,
    ...(version >= 47 && image.manifests !== undefined && { Manifests: image.manifests.map(manifestOf) }),
    ...(version >= 48 && { Descriptor: image.index ?? image.manifest }),
  };
}

/** Before API 1.43 an image without a name had these in its place. */
function namesOf({ repoTags, repoDigests }: ImageSummary, version: ApiVersion) {
  const isUnnamed = version < 43 && repoTags.length === 0 && repoDigests.length === 0;
  return {
    RepoTags: isUnnamed ? ['<none>:<none>'] : repoTags,
    RepoDigests: isUnnamed ? ['<none>@<none>'] : repoDigests,
  };
}

function manifestOf(manifest: ManifestSummary) {
  const { descriptor, isAvailable, contentBytes, kind, image, attests } = manifest;
  return {
    ID: descriptor.digest,
    Descriptor: descriptor,
    Available: isAvailable,
    Size: { Content: contentBytes, Total: contentBytes + (image?.unpackedBytes ?? 0) },
    Kind: kind,
    ...(image !== undefined && {
      ImageData: {
        Platform: image.platform,
        Containers: image.containers,
        Size: { Unpacked: image.unpackedBytes },
      },
    }),
    ...(kind === 'attestation' && { AttestationData: { For: attests ?? '' } }),
  };
}

export interface ImageInspectFor {
  version: ApiVersion;
  /** The client asked for one platform: it is told of that manifest, not of the index. */
  isOfPlatform: boolean;
  /** The header `user-agent`. */
  userAgent: string | undefined;
}

export function imageInspectOf(image: ImageView, { version, isOfPlatform, userAgent }: ImageInspectFor) {
  const { config } = image;
  const shown = configOfVersion(config.config ?? {}, version);
  // docker-compose 1.29 takes the newest version of the API, and yet looks in this field for an image's volumes.
  const hasContainerConfig = version < 45 || userAgent?.startsWith('docker-compose/1.') === true;
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: image.parent ?? '',
    Comment: config.comment ?? '',
    ...((config.created !== undefined || version < 44) && { Created: config.created ?? timestamp(0) }),
    ...(hasContainerConfig && { Container: '', ContainerConfig: shown }),
    DockerVersion: '',
    Author: config.author ?? '',
    Config: shown,
    Architecture: config.architecture,
    ...(config.variant && { Variant: config.variant }),
    Os: config.os,
    ...(config['os.version'] && { OsVersion: config['os.version'] }),
    Size: image.sizeBytes,
    ...(version < 44 && { VirtualSize: image.sizeBytes }),
    GraphDriver: { Data: layerFolders(image.layerFolders), Name: image.driver },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: timestamp(image.lastTaggedMs) },
    ...(version >= 48 && { Descriptor: isOfPlatform ? image.manifest : (image.index ?? image.manifest) }),
    ...(version >= 48 && image.manifests !== undefined && { Manifests: image.manifests.map(manifestOf) }),
  };
}

/** Fields that are always there, and until API 1.49 those that only a container's configuration has. */
function configOfVersion(config: object, version: ApiVersion) {
  return {
    ...(version < 50 && {
      ...{ Hostname: '', Domainname: '', AttachStdin: false, AttachStdout: false, AttachStderr: false, Tty: false },
      ...{ OpenStdin: false, StdinOnce: false, Image: '' },
    }),
    ...{ User: '', Env: null, Cmd: null, Volumes: null, WorkingDir: '', Entrypoint: null, OnBuild: null, Labels: null },
    ...config,
  };
}

/** As overlay2 tells of an image: its topmost layer and those below. There is no mount of it, so nothing to merge or work in. */
function layerFolders([upper, ...lower]: readonly string[]) {
  if (upper === undefined) return null;
  return { ...(lower.length > 0 && { LowerDir: lower.join(':') }), UpperDir: upper };
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

/** Docker's JSONMessage. What has an id is progress, also when it counts nothing. */
export function progressOf(message: ProgressMessage) {
  const { currentBytes: current, totalBytes: total, pushed, pushedInstead } = message;
  const bar = current === undefined ? '' : progressBar(current, total);
  const detail = current === undefined ? {} : { current, ...(total !== undefined && { total }) };
  const isAux = pushed !== undefined || pushedInstead !== undefined;
  const hasDetail = current !== undefined || message.id !== undefined || isAux;
  return {
    ...(message.stream !== undefined && { stream: message.stream }),
    ...(message.status !== undefined && { status: message.status }),
    ...(hasDetail && { progressDetail: detail }),
    ...(bar !== '' && { progress: bar }),
    ...(message.id !== undefined && { id: message.id }),
    ...(pushedInstead !== undefined && {
      aux: {
        manifestPushedInsteadOfIndex: true,
        originalIndex: pushedInstead.index,
        selectedManifest: pushedInstead.manifest,
      },
    }),
    ...(pushed !== undefined && { aux: { Tag: pushed.tag, Digest: pushed.digest, Size: pushed.sizeBytes } }),
  };
}

export function removedOf(removed: RemovedImage) {
  return removed.untagged !== undefined ? { Untagged: removed.untagged } : { Deleted: removed.deleted };
}
