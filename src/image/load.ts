import { TareError } from '../errors/index.ts';
import type { ContentStore, DiffID, Digest, LayerStore, Platform } from '../storage/index.ts';
import type { ArchiveSource } from './archive-source.ts';
import { decompressed } from './decompress.ts';
import { DirectorySource } from './directory-source.ts';
import { loadDockerImage, parseDockerArchive } from './load-docker.ts';
import { loadRest } from './load-index.ts';
import { findOciImages, loadOciImage } from './load-oci.ts';
import type { LoadedImage } from './loaded-image.ts';
import { type Index, parseManifest } from './manifest.ts';
import { hostPlatform } from './platform.ts';
import type { Progress } from './progress.ts';
import { canonical } from './reference.ts';
import { TarSource } from './tar-source.ts';
import { Unpacker } from './unpack.ts';

/** Where images are stored. */
export interface ImageStores {
  content: ContentStore;
  layers: LayerStore;
}

export interface LoadOptions {
  /** Choose and demand this platform; undefined: the host's where there is a choice. */
  platform?: Platform;
  /** diffIDs of blobs as images that are here have them: such layers need not be unpacked again. */
  known?: ReadonlyMap<Digest, DiffID>;
  /** Told of the formats that the archive is in, before its images are read; throws to refuse it. */
  accept?(formats: readonly ('oci' | 'docker')[]): Promise<void>;
}

/**
 * Reads a docker archive or an OCI layout from a tar, compressed or not, and stores its images. Nothing is held whole in
 * memory. Hold the stores against garbage collection meanwhile; what a failed load leaves in them belongs to nobody.
 *
 * @returns the images; record them to make them visible
 * @throws {TareError} InvalidArgument, Unsupported: what of the archive is wrong; NotFound: nothing for the platform
 */
export async function* loadArchive(
  stores: ImageStores,
  input: AsyncIterable<Uint8Array>,
  options: LoadOptions = {},
): AsyncGenerator<Progress, LoadedImage[]> {
  await using unpacker = new Unpacker(stores, options.known ?? new Map());
  await using source = new TarSource('image archive', stores.content, unpacker);
  yield* source.read(decompressed(input));
  return await storeImages(source, stores, unpacker, options);
}

/** The same from a folder on this machine. */
export async function loadFolder(stores: ImageStores, path: string, options: LoadOptions = {}): Promise<LoadedImage[]> {
  await using unpacker = new Unpacker(stores, options.known ?? new Map());
  using source = new DirectorySource(path, stores.content);
  return await storeImages(source, stores, unpacker, options);
}

async function storeImages(
  source: ArchiveSource,
  { content }: ImageStores,
  unpacker: Unpacker,
  { platform, accept }: LoadOptions,
): Promise<LoadedImage[]> {
  const indexText = await source.text('index.json');
  const dockerText = await source.text('manifest.json');
  if (indexText === undefined && dockerText === undefined) throw await notAnArchive(source);
  await accept?.([
    ...(indexText === undefined ? [] : ['oci' as const]),
    ...(dockerText === undefined ? [] : ['docker' as const]),
  ]);
  const images = new Map<Digest, LoadedImage>();
  if (indexText !== undefined) {
    const index = parseIndex(indexText, source.what);
    for (const image of await findOciImages(source, content, index, platform ?? hostPlatform())) {
      const loaded = await loadOciImage(source, content, unpacker, image, platform);
      // A folder is read for what is needed; an archive has been read already.
      if (image.index !== undefined && platform === undefined && source instanceof TarSource) {
        const { mediaType, digest, size } = image.index;
        loaded.index = { mediaType, digest, size };
        loaded.variants = await loadRest(source, content, unpacker, image.index, image.descriptor.digest);
      }
      add(images, loaded);
    }
  }
  // An archive that is both says the same twice, but a bare OCI index may leave the names to docker's manifest.
  for (const entry of dockerText === undefined ? [] : parseDockerArchive(dockerText, source.what)) {
    const config = await source.blob(entry.config);
    const known = config === undefined ? undefined : images.get(config.digest);
    if (known !== undefined) addNames(known, entry.names);
    else add(images, await loadDockerImage(source, content, unpacker, entry));
  }
  if (images.size === 0) throw new TareError('InvalidArgument', `${source.what} holds no image`);
  return [...images.values()];
}

function parseIndex(bytes: Uint8Array, what: string): Index {
  const index = parseManifest(bytes, `${what}: index.json`);
  if (index.kind === 'index') return index;
  throw new TareError('InvalidArgument', `${what}: index.json is a manifest: want an image index`);
}

function add(images: Map<Digest, LoadedImage>, image: LoadedImage): void {
  const known = images.get(image.id);
  if (known === undefined) images.set(image.id, image);
  else addNames(known, image.names);
}

function addNames(image: LoadedImage, names: LoadedImage['names']): void {
  const known = new Set(image.names.map(canonical));
  image.names.push(...names.filter((name) => !known.has(canonical(name))));
}

async function notAnArchive(source: ArchiveSource): Promise<TareError> {
  if ((await source.text('repositories')) !== undefined) {
    return new TareError(
      'Unsupported',
      `${source.what} is in the format of docker before 1.10 (no manifest.json): save it again with a current docker`,
    );
  }
  return new TareError(
    'InvalidArgument',
    `${source.what} has neither index.json (OCI layout) nor manifest.json (docker archive): it is not an image archive; a root filesystem goes to import`,
  );
}
