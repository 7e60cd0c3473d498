import { toByteString } from '../linux/index.ts';
import {
  type BlobReader,
  type Descriptor,
  type Digest,
  encodeFile,
  encodeHeader,
  endOfArchive,
  padding,
} from '../storage/index.ts';
import { blobName } from './archive-source.ts';
import type { StoredImage } from './loaded-image.ts';
import { mediaTypes } from './manifest.ts';
import { canonical, familiar, type Reference } from './reference.ts';

/** An image to save, with the names it gets in the archive. */
export interface SavedImage extends StoredImage {
  names: Reference[];
  /** Its index with all that it lists, in place of the manifest alone. */
  whole?: { index: Descriptor; blobs: Digest[] };
}

/**
 * One tar that is an OCI layout and a docker archive at once. Blobs go in as they are stored. Equal images give equal
 * archives.
 *
 * @param options without docker's documents it is an OCI layout alone
 * @throws {TareError} NotFound: a blob is missing from the store
 */
export async function* saveArchive(
  content: Pick<BlobReader, 'open' | 'info'>,
  images: readonly SavedImage[],
  { isDocker = true }: { isDocker?: boolean } = {},
): AsyncGenerator<Uint8Array> {
  const blobs = new Map<Digest, number>();
  for (const image of images) {
    for (const digest of [...blobsOf(image), ...(image.whole?.blobs ?? [])])
      if (!blobs.has(digest)) blobs.set(digest, (await content.info(digest)).sizeBytes);
  }
  yield directory('blobs/');
  yield directory('blobs/sha256/');
  for (const [digest, sizeBytes] of [...blobs].sort(([a], [b]) => (a < b ? -1 : 1))) {
    yield encodeHeader({ path: toByteString(blobName(digest)), type: 'file', sizeBytes });
    yield* content.open(digest);
    yield padding(sizeBytes);
  }
  yield encodeFile('index.json', JSON.stringify(indexOf(images)));
  if (isDocker) yield encodeFile('manifest.json', JSON.stringify(images.map(dockerEntry)));
  yield encodeFile('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  const repositories = isDocker ? repositoriesOf(images) : {};
  if (Object.keys(repositories).length > 0) yield encodeFile('repositories', JSON.stringify(repositories));
  yield endOfArchive();
}

const directory = (path: string): Buffer => encodeHeader({ path, type: 'directory', mode: 0o755 });

/** All blobs that an image consists of. */
export const blobsOf = (image: Pick<StoredImage, 'id' | 'manifest' | 'layers'>): Digest[] => [
  image.manifest.digest,
  image.id,
  ...image.layers.map((layer) => layer.digest),
];

function indexOf(images: readonly SavedImage[]): object {
  const manifests: Descriptor[] = [];
  for (const { manifest, config, names, whole } of images) {
    const { mediaType, digest, size } = whole?.index ?? manifest;
    const { architecture, os, variant } = config;
    const platform =
      whole === undefined ? { platform: { architecture, os, ...(variant === undefined ? {} : { variant }) } } : {};
    if (names.length === 0) manifests.push({ mediaType, digest, size, ...platform });
    for (const name of names) {
      const annotations = {
        'io.containerd.image.name': canonical(name),
        'org.opencontainers.image.ref.name': name.tag ?? canonical(name),
      };
      manifests.push({ mediaType, digest, size, annotations, ...platform });
    }
  }
  return { schemaVersion: 2, mediaType: mediaTypes.index, manifests };
}

/** @see moby, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format" */
function dockerEntry(image: SavedImage): object {
  const sources = image.layers.map(({ diffID, mediaType, digest, blobBytes }) => [
    diffID,
    { mediaType, digest, size: blobBytes },
  ]);
  return {
    Config: blobName(image.id),
    RepoTags: image.names.length === 0 ? null : image.names.map(familiar),
    Layers: image.layers.map((layer) => blobName(layer.digest)),
    LayerSources: Object.fromEntries(sources),
  };
}

/** Which top layer each tag stands for: what docker before 1.10 read. */
function repositoriesOf(images: readonly SavedImage[]): Record<string, Record<string, string>> {
  const repositories: Record<string, Record<string, string>> = {};
  for (const { names, layers } of images) {
    for (const name of names) {
      const text = familiar(name);
      const repository = text.slice(0, text.lastIndexOf(':'));
      repositories[repository] ??= {};
      repositories[repository][name.tag ?? ''] = layers.at(-1)?.digest.slice('sha256:'.length) ?? '';
    }
  }
  return repositories;
}
