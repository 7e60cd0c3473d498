import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, detectCompression, digestOf, hexOf } from '../../storage/index.ts';
import { digestInName } from '../archive-source.ts';
import { MAX_CONFIG_BYTES, parseImageConfig } from '../config.ts';
import { type DockerArchiveEntry, parseDockerArchive } from '../load-docker.ts';
import { mediaTypes } from '../manifest.ts';
import { canonical, familiar, type Reference } from '../reference.ts';
import { fileBlob } from './file-blob.ts';
import { digestOfAll } from './hashed-bytes.ts';
import type { BlobRange, ImageDocument, ImageSource } from './image-source.ts';
import { type LayoutFiles, readWhole } from './layout-files.ts';

/** Which image of the archive is meant; nothing given: the only one. */
export interface ArchiveChoice {
  reference?: Reference;
  index?: number;
}

const SNIFF_BYTES = 6;

/**
 * An image in docker's archive. It has no manifest: one is made for it, of docker's schema 2, whose layers are the files
 * as they lie in the archive.
 */
export class DockerArchiveSource implements ImageSource {
  readonly what: string;
  reference: Reference | undefined;
  readonly #files: LayoutFiles;
  readonly #choice: ArchiveChoice;
  /** File by digest. */
  readonly #names = new Map<Digest, string>();
  #root: Promise<ImageDocument> | undefined;

  /** @param files are the source's from here on */
  constructor(files: LayoutFiles, choice: ArchiveChoice, what: string) {
    this.what = what;
    this.#files = files;
    this.#choice = choice;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#files[Symbol.dispose]();
  }

  root(): Promise<ImageDocument> {
    this.#root ??= this.#describe();
    return this.#root;
  }

  async manifest(descriptor: Descriptor): Promise<ImageDocument> {
    const root = await this.root();
    if (root.descriptor.digest === descriptor.digest) return root;
    throw new TareError('NotFound', `${this.what}: manifest ${descriptor.digest} is missing`);
  }

  async *blob(descriptor: Descriptor, range?: BlobRange): AsyncGenerator<Uint8Array, void, void> {
    await this.root();
    yield* fileBlob(this.#files, this.#names.get(descriptor.digest), descriptor, range);
  }

  async referrers(): Promise<Descriptor[]> {
    return [];
  }

  async tagged(): Promise<ImageDocument | undefined> {
    return undefined;
  }

  async signatures(): Promise<Buffer[]> {
    return [];
  }

  async #describe(): Promise<ImageDocument> {
    const text = await readWhole(this.#files, 'manifest.json');
    if (text === undefined) {
      throw new TareError('InvalidArgument', `${this.what} has no manifest.json: it is not a docker archive`);
    }
    const entry = chooseImage(parseDockerArchive(text, this.what), this.#choice, this.what);
    this.reference = entry.names[0];
    const configBytes = await readWhole(this.#files, entry.config, MAX_CONFIG_BYTES);
    if (configBytes === undefined) throw this.#missing(entry.config);
    const config = digestOf(configBytes);
    this.#requireNamed(entry.config, config);
    this.#names.set(config, entry.config);
    const diffIDs = parseImageConfig(configBytes, `${this.what}: ${entry.config}`).rootfs.diff_ids;
    if (diffIDs.length !== entry.layers.length) {
      throw new TareError(
        'InvalidArgument',
        `${this.what}: manifest.json lists ${entry.layers.length} layers, but the config ${diffIDs.length} diff_ids`,
      );
    }
    const layers: Descriptor[] = [];
    for (const [position, name] of entry.layers.entries()) {
      // An uncompressed layer's digest is its diffID: nothing needs to be read to know it.
      layers.push(await this.#layer(name, diffIDs[position]! as string as Digest));
    }
    const manifest = {
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: { mediaType: mediaTypes.dockerConfig, size: configBytes.byteLength, digest: config },
      layers,
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const descriptor = { mediaType: mediaTypes.dockerManifest, digest: digestOf(bytes), size: bytes.byteLength };
    return { descriptor, bytes };
  }

  async #layer(name: string, diffID: Digest): Promise<Descriptor> {
    const size = this.#files.size(name);
    if (size === undefined) throw this.#missing(name);
    const compression = detectCompression(await this.#head(name));
    if (compression === 'none') return this.#named(name, { mediaType: mediaTypes.dockerLayer, size, digest: diffID });
    if (compression === 'bzip2' || compression === 'xz') {
      throw new TareError(
        'Unsupported',
        `${this.what}: layer ${JSON.stringify(name)} is compressed with ${compression}: load it instead of copying it`,
      );
    }
    const mediaType = compression === 'gzip' ? mediaTypes.dockerLayerGzip : mediaTypes.layerZstd;
    const digest = digestInName(name) ?? (await digestOfAll(this.#files.open(name)));
    return this.#named(name, { mediaType, size, digest });
  }

  #named(name: string, descriptor: Descriptor): Descriptor {
    this.#names.set(descriptor.digest, name);
    return descriptor;
  }

  async #head(name: string): Promise<Buffer> {
    let head = Buffer.alloc(0);
    for await (const chunk of this.#files.open(name)) {
      head = Buffer.concat([head, chunk.subarray(0, SNIFF_BYTES)]);
      if (head.byteLength >= SNIFF_BYTES) break;
    }
    return head;
  }

  /** A config is named by its digest: `HEX.json`, or `blobs/sha256/HEX`. */
  #requireNamed(name: string, digest: Digest): void {
    const hex = /([0-9a-f]{64})(\.json)?$/.exec(name)?.[1];
    if (hex === undefined || hex === hexOf(digest)) return;
    throw new TareError('InvalidArgument', `${this.what}: ${name} has the digest ${digest}: it is damaged`);
  }

  #missing(name: string): TareError {
    return new TareError('NotFound', `${this.what}: manifest.json names ${JSON.stringify(name)}, which is missing`);
  }
}

function chooseImage(
  images: readonly DockerArchiveEntry[],
  { reference, index }: ArchiveChoice,
  what: string,
): DockerArchiveEntry {
  if (index !== undefined) {
    const entry = images[index];
    if (entry !== undefined) return entry;
    throw new TareError('NotFound', `${what}: manifest.json has ${images.length} images, counted from 0`);
  }
  if (reference !== undefined) {
    const wanted = canonical(reference);
    const entry = images.find(({ names }) => names.some((name) => canonical(name) === wanted));
    if (entry !== undefined) return { ...entry, names: [reference] };
    throw new TareError('NotFound', `${what}: manifest.json names no ${familiar(reference)}${offering(images)}`);
  }
  const [only, second] = images;
  if (only === undefined) throw new TareError('NotFound', `${what} holds no image`);
  if (second === undefined) return only;
  throw new TareError('InvalidArgument', `${what} holds ${images.length} images: say which${offering(images)}`);
}

function offering(images: readonly DockerArchiveEntry[]): string {
  const names = images.flatMap((image) => image.names.map(familiar));
  return names.length === 0 ? `: want @N, with N from 0 to ${images.length - 1}` : `: it has ${names.join(', ')}`;
}
