import { TareError } from '../errors/index.ts';
import {
  type BlobBytes,
  bestPlatform,
  canonical,
  type DestinationRules,
  familiar,
  hostPlatform,
  type ImageDestination,
  isAttestation,
  isImageConfigType,
  isLayerType,
  isStored,
  type Manifest,
  type ManifestRole,
  mediaTypes,
  type PutBlobOptions,
  parseManifest,
  parseReference,
  type Reference,
  readConfig,
  requireLayerType,
  type StoredImage,
  type StoredLayer,
  Unpacker,
  withDefaultTag,
} from '../image/index.ts';
import type { Descriptor, Digest } from '../storage/index.ts';
import { collectGarbage } from './image-collect.ts';
import { holdContent } from './image-leases.ts';
import { knownLayers } from './image-load.ts';
import { formatOrigin, formatRegistryOrigin } from './image-origin.ts';
import type { ImageParts } from './image-parts.ts';
import { recordWithVariants } from './image-pulled.ts';
import { imageEvent, putName } from './image-records.ts';
import type { CopyOrigin, LocalDestinationOptions } from './types.ts';

/**
 * A name in the engine's own store, to copy an image to. Layers unpack as they come; the image is seen with `commit`.
 *
 * @throws {TareError} InvalidArgument: no name that an image can have; from `commit` also Forbidden: the signature policy
 */
export async function openLocalDestination(
  parts: ImageParts,
  ref: string,
  options: LocalDestinationOptions = {},
): Promise<ImageDestination> {
  const reference = withDefaultTag(parseReference(ref));
  if (reference.digest !== undefined) {
    throw new TareError(
      'InvalidArgument',
      `local:${ref}: an image is named by a tag; its digest follows from its content`,
    );
  }
  await using opening = new AsyncDisposableStack();
  // Disposed last to first: the collection comes when nothing of ours is held any more.
  opening.defer(() => collectGarbage(parts));
  opening.use(await holdContent(parts));
  const unpacker = opening.use(new Unpacker(parts, knownLayers(parts)));
  return new LocalDestination(parts, unpacker, reference, options, opening.move());
}

interface Document {
  descriptor: Descriptor;
  bytes: Buffer;
}

class LocalDestination implements ImageDestination {
  readonly what: string;
  readonly reference: Reference;
  readonly rules: DestinationRules = {
    manifestTypes: [mediaTypes.manifest, mediaTypes.dockerManifest],
    indexes: true,
    artifacts: false,
    layers: 'preserve',
    foreignLayers: false,
    signatures: false,
    referrers: false,
  };
  readonly #parts: ImageParts;
  readonly #unpacker: Unpacker;
  readonly #unpacksEarly: boolean;
  readonly #origin: CopyOrigin | undefined;
  readonly #held: AsyncDisposable;
  readonly #documents = new Map<Digest, Document>();
  #root: Document | undefined;

  constructor(
    parts: ImageParts,
    unpacker: Unpacker,
    reference: Reference,
    options: LocalDestinationOptions,
    held: AsyncDisposable,
  ) {
    this.what = `local:${familiar(reference)}`;
    this.reference = reference;
    this.#parts = parts;
    this.#unpacker = unpacker;
    this.#unpacksEarly = options.all !== true;
    this.#origin = options.origin;
    this.#held = held;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#held[Symbol.asyncDispose]();
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return isStored(this.#parts.content, descriptor, this.what);
  }

  async putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}): Promise<'existed' | 'stored'> {
    const state = await this.#storeBlob(descriptor, bytes, options);
    if (this.#unpacksEarly && isLayerType(descriptor.mediaType)) this.#unpacker.start(descriptor.digest, undefined);
    return state;
  }

  async #storeBlob(
    descriptor: Descriptor,
    bytes: BlobBytes,
    { signal, onProgress }: PutBlobOptions,
  ): Promise<'existed' | 'stored'> {
    if (await this.hasBlob(descriptor)) return 'existed';
    const { digest, size } = descriptor;
    await using writer = await this.#parts.content.writer({ digest, sizeBytes: size });
    if (writer.offset < size) {
      for await (const chunk of bytes(writer.offset)) {
        signal?.throwIfAborted();
        await writer.write(chunk);
        onProgress?.(writer.offset);
      }
    }
    await writer.commit();
    return 'stored';
  }

  async putManifest(mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    const { digest, sizeBytes } = await this.#parts.content.put(bytes);
    const document = { descriptor: { mediaType, digest, size: sizeBytes }, bytes };
    this.#documents.set(digest, document);
    if (role === 'root') this.#root = document;
  }

  async putSignatures(): Promise<void> {
    throw new TareError('Unsupported', `${this.what} cannot keep signatures: copy with --remove-signatures`);
  }

  async commit(): Promise<void> {
    const root = this.#root;
    if (root === undefined) throw new TareError('Internal', `${this.what}: no manifest was written`);
    const images = this.#imagesOf(root);
    const chosen =
      bestPlatform(images, ({ descriptor }) => descriptor.platform ?? anyPlatform, hostPlatform()) ?? images[0];
    if (chosen === undefined) throw new TareError('InvalidArgument', `${this.what}: the index lists no image`);
    const signatures = await this.#requireTrust([root, chosen]);
    const image = await this.#store(chosen, 'unpacked');
    const variants: StoredImage[] = [];
    for (const other of images) {
      if (other.descriptor.digest !== chosen.descriptor.digest) variants.push(await this.#store(other, 'stored'));
    }
    const index = root.descriptor.digest === chosen.descriptor.digest ? undefined : root.descriptor;
    const { db, now } = this.#parts;
    await db.write((tx) => {
      const origins = this.#origin === undefined ? [] : [formatCopyOrigin(this.#origin)];
      const trusted = (one: StoredImage): StoredImage => ({ ...one, signatures, origins });
      recordWithVariants(tx, trusted(image), index, variants.map(trusted));
      putName(tx, this.reference, image.id, now());
      imageEvent(tx, 'load', image, familiar(this.reference));
    });
  }

  /** Asks the signature policy as a pull or a load would. @returns documents in the store that speak for the image */
  async #requireTrust([root, chosen]: [Document, Document]): Promise<Descriptor[]> {
    const { trust } = this.#parts;
    if (trust === undefined || this.#origin === undefined) return [];
    if (!('reader' in this.#origin)) {
      await trust.checkLoad([this.#origin]);
      return [];
    }
    const documents = root.descriptor.digest === chosen.descriptor.digest ? [root] : [root, chosen];
    return await trust.checkPull(this.#origin.reader, this.#origin.reference, documents);
  }

  /** Images of a document: itself, or those of an index that were written. */
  #imagesOf(document: Document, seen = new Set<Digest>()): Document[] {
    const { descriptor, bytes } = document;
    if (seen.has(descriptor.digest)) return [];
    seen.add(descriptor.digest);
    const parsed = this.#parse(document);
    if (parsed.kind === 'manifest') return isImageConfigType(parsed.config.mediaType) ? [{ descriptor, bytes }] : [];
    return parsed.manifests.flatMap((entry) => {
      const inner = this.#documents.get(entry.digest);
      if (inner === undefined || isAttestation(entry)) return [];
      return this.#imagesOf({ descriptor: entry, bytes: inner.bytes }, seen);
    });
  }

  #parse({ descriptor, bytes }: Document) {
    return parseManifest(bytes, `${this.what}: manifest ${descriptor.digest}`, descriptor.mediaType);
  }

  async #store(document: Document, as: 'unpacked' | 'stored'): Promise<StoredImage> {
    const { mediaType, digest, size } = document.descriptor;
    const what = `${this.what}: manifest ${digest}`;
    const { config: blob, layers: descriptors } = this.#parse(document) as Manifest;
    const config = await readConfig(this.#parts.content, { digest: blob.digest, sizeBytes: blob.size }, what);
    const diffIDs = config.rootfs.diff_ids;
    if (descriptors.length !== diffIDs.length) {
      throw new TareError(
        'InvalidArgument',
        `${what}: it lists ${descriptors.length} layers, but its config ${diffIDs.length} diff_ids: they must be as many`,
      );
    }
    const layers = await Promise.all(
      descriptors.map(async (layer, position): Promise<StoredLayer> => {
        requireLayerType(layer, what);
        const diffID = diffIDs[position]!;
        const stored = { digest: layer.digest, diffID, mediaType: layer.mediaType, blobBytes: layer.size };
        if (as === 'stored') return { ...stored, unpackedBytes: 0 };
        const { sizeBytes } = await this.#unpacker.finish(layer.digest, undefined, diffID, what);
        return { ...stored, unpackedBytes: sizeBytes };
      }),
    );
    return { id: blob.digest, manifest: { mediaType, digest, size }, config, layers };
  }
}

const formatCopyOrigin = (origin: CopyOrigin): string =>
  'reader' in origin ? formatRegistryOrigin(canonical(origin.reference)) : formatOrigin(origin);

const anyPlatform = { os: 'linux', architecture: '' };
