import { Readable } from 'node:stream';
import { TareError } from '../../errors/index.ts';
import { type Descriptor, type DiffID, type Digest, hexOf } from '../../storage/index.ts';
import { allEnded } from '../all-ended.ts';
import { MAX_CONFIG_BYTES, parseImageConfig } from '../config.ts';
import { type Index, type Manifest, parseManifest } from '../manifest.ts';
import { hostPlatform } from '../platform.ts';
import { convertIndex, convertManifest, describe, type NewDocument } from './convert-manifest.ts';
import { type CompressionChoice, convertLayer } from './copy-layer.ts';
import {
  type CopyOptions,
  type CopyProgress,
  chooseInstance,
  indexFormat,
  isImage,
  isPinned,
  type LayerPolicy,
  layerPolicy,
  requireManifestType,
  targetFormat,
} from './copy-plan.ts';
import { abortable, verified } from './hashed-bytes.ts';
import type { ImageDestination, ManifestRole } from './image-destination.ts';
import type { ImageDocument, ImageSource } from './image-source.ts';
import { formatOf, layerTypeIn, layerTypeOf, type ManifestFormat } from './layer-types.ts';
import { Slots } from './slots.ts';

const DEFAULT_CONCURRENCY = 6;
const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;
const MAX_DOCUMENTS_BYTES = 64 << 20;
const cosignSuffixes = ['sig', 'att', 'sbom'];

export type { CopyOptions, CopyProgress } from './copy-plan.ts';

/** What a copy made. */
export interface CopyResult {
  /** Of the manifest or index that the destination's name now stands for. */
  descriptor: Descriptor;
  bytes: Buffer;
}

/**
 * Copies an image, or an index with its images, from anywhere to anywhere. Blobs go side by side, straight through, and
 * only those that the destination has not. Every byte is compared with its digest on the way. Nobody sees anything of it
 * before the end; a copy that failed may be repeated, and takes up what is there.
 *
 * @throws {TareError} of the source and the destination; Unsupported: what the destination cannot hold as it is, and
 *   digests or signatures forbid to change; DigestMismatch
 */
export async function copyImage(
  source: ImageSource,
  destination: ImageDestination,
  options: CopyOptions = {},
): Promise<CopyResult> {
  const result = await new Copy(source, destination, options).run();
  options.signal?.throwIfAborted();
  await destination.commit();
  return result;
}

/** The manifest that a layer is copied for. */
interface LayerPlace {
  /** Its format from now on, and the one it had. */
  format: ManifestFormat;
  own: ManifestFormat;
  diffID: DiffID | undefined;
  /** Names it in errors. */
  what: string;
}

class Copy {
  readonly #source: ImageSource;
  readonly #destination: ImageDestination;
  readonly #options: CopyOptions;
  readonly #policy: LayerPolicy;
  readonly #slots: Slots;
  /** What became of each blob that was asked for; equal blobs of several images go once. */
  readonly #blobs = new Map<string, Promise<Descriptor>>();
  /** By the digest of what they speak of. */
  readonly #signatures = new Map<Digest, Buffer[]>();
  #documents = 0;
  #documentBytes = 0;

  constructor(source: ImageSource, destination: ImageDestination, options: CopyOptions) {
    this.#source = source;
    this.#destination = destination;
    this.#options = options;
    this.#policy = layerPolicy(options, destination);
    this.#slots = new Slots(options.concurrency ?? DEFAULT_CONCURRENCY);
  }

  async run(): Promise<CopyResult> {
    const { rules, what } = this.#destination;
    if (this.#options.withReferrers === true && !rules.referrers) {
      throw new TareError('Unsupported', `${what} has no room for referrers`);
    }
    let root = await this.#source.root();
    let parsed = this.#parse(root);
    let isChosen = false;
    for (let depth = 0; parsed.kind === 'index' && this.#choosesOne(); depth += 1) {
      if (depth >= MAX_DEPTH) throw this.#tooDeep();
      const chosen = chooseInstance(parsed, this.#options.platform ?? hostPlatform(), this.#source.what);
      root = await this.#document(chosen);
      parsed = this.#parse(root);
      isChosen = true;
    }
    if (parsed.kind === 'index' && !rules.indexes) {
      throw new TareError('Unsupported', `${what} holds single images only: copy without --all`);
    }
    const { digest } = root.descriptor;
    await this.#findSignatures(digest, isChosen ? digest : undefined);
    const document = await this.#copyDocument(root, parsed, 0);
    await this.#destination.putManifest(document.mediaType, document.bytes, 'root');
    this.#tell(describe(document), 'manifest', 'done', document.bytes.byteLength);
    for (const [signed, signatures] of this.#signatures) {
      await this.#destination.putSignatures(signatures, signed === digest ? undefined : signed);
    }
    if (this.#options.withReferrers === true) await this.#copyReferrers(root, parsed, 0);
    return { descriptor: describe(document), bytes: document.bytes };
  }

  #choosesOne(): boolean {
    return (this.#options.instances ?? 'system') === 'system';
  }

  /** Copies what a document names. @returns the document as it shall be stored */
  async #copyDocument(original: ImageDocument, parsed: Manifest | Index, depth: number): Promise<NewDocument> {
    if (parsed.kind === 'manifest') return await this.#copyManifest(original, parsed);
    if (this.#options.instances === 'index-only') return asIs(original);
    if (depth >= MAX_DEPTH) throw this.#tooDeep();
    const changed = new Map<Digest, Descriptor>();
    await allEnded(
      parsed.manifests.map(async (entry) => {
        requireManifestType(entry, this.#source.what);
        const child = await this.#document(entry);
        await this.#findSignatures(entry.digest, entry.digest);
        const copied = await this.#copyDocument(child, this.#parse(child), depth + 1);
        await this.#slots.run(() => this.#destination.putManifest(copied.mediaType, copied.bytes, 'part'));
        const descriptor = describe(copied);
        if (descriptor.digest !== entry.digest) changed.set(entry.digest, descriptor);
      }),
    );
    let format = indexFormat(parsed, this.#options, this.#destination);
    // Docker's list cannot hold what had to become OCI.
    if ([...changed.values()].some(({ mediaType }) => formatOf(mediaType) === 'oci')) {
      format = this.#options.format ?? 'oci';
    }
    if (changed.size === 0 && format === formatOf(parsed.mediaType)) return asIs(original);
    return this.#change(original, () => convertIndex(asIs(original), format, changed));
  }

  async #copyManifest(original: ImageDocument, manifest: Manifest): Promise<NewDocument> {
    const what = `${this.#source.what}: manifest ${original.descriptor.digest}`;
    const { config, layers } = manifest;
    if (!isImage(manifest)) {
      if (!this.#destination.rules.artifacts) {
        throw new TareError(
          'Unsupported',
          `${what} is no container image (its config is of type ${config.mediaType}): ${this.#destination.what} holds images only`,
        );
      }
      if (this.#options.format === 'v2s2') {
        throw new TareError('Unsupported', `${what} is no container image, and docker's schema 2 holds no others`);
      }
      await allEnded([config, ...layers].map((blob, index) => this.#copyBlob(blob, index === 0 ? 'config' : 'layer')));
      return asIs(original);
    }
    const format = targetFormat(manifest, this.#options, this.#policy, this.#destination);
    const own = formatOf(manifest.mediaType);
    const changesLayers = layers.some((layer) => this.#wantedFor(layer, format) !== undefined);
    const configBytes = changesLayers ? await this.#readConfig(config, what) : undefined;
    const diffIDs = configBytes === undefined ? [] : diffIDsIn(configBytes, layers.length, what);
    const [, ...copied] = await allEnded([
      this.#copyBlob(config, 'config', configBytes),
      ...layers.map((layer, index) => this.#copyLayer(layer, { format, own, diffID: diffIDs[index], what })),
    ]);
    const isSame = copied.every(
      ({ digest, mediaType }, index) => digest === layers[index]!.digest && mediaType === layers[index]!.mediaType,
    );
    if (isSame && format === own) return asIs(original);
    return this.#change(original, () => convertManifest(asIs(original), format, copied, what));
  }

  async #readConfig(config: Descriptor, what: string): Promise<Buffer> {
    if (config.size > MAX_CONFIG_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `${what}: config ${config.digest} has ${config.size} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
      );
    }
    const chunks = verified(this.#source.blob(config, this.#signal()), config, `config ${config.digest}`);
    const parts: Buffer[] = [];
    for await (const chunk of chunks) parts.push(Buffer.from(chunk));
    return Buffer.concat(parts);
  }

  async #copyLayer(layer: Descriptor, place: LayerPlace): Promise<Descriptor> {
    const { format, own, what } = place;
    const type = layerTypeOf(layer.mediaType);
    const isForeign = type?.isForeign === true;
    if (isForeign && this.#options.foreignLayers !== true) {
      if (!this.#destination.rules.foreignLayers) {
        throw new TareError(
          'Unsupported',
          `${what}: layer ${layer.digest} is not to be distributed, and ${this.#destination.what} cannot do without it: copy with --foreign-layers`,
        );
      }
      this.#tell(layer, 'layer', 'left out', 0);
      return this.#called(layer, format, own, what);
    }
    const wanted = this.#wantedFor(layer, format);
    if (wanted === undefined || type === undefined || isForeign) {
      return this.#called(await this.#copyBlob(layer, 'layer'), format, own, what);
    }
    const key = `${layer.digest} ${format}`;
    return await this.#once(key, () => this.#slots.run(() => this.#convertLayer(layer, wanted, place)));
  }

  /** The compression that a layer shall have; undefined: whatever it has. */
  #wantedFor(layer: Descriptor, format: ManifestFormat): CompressionChoice | 'none' | undefined {
    const { wanted, isStrict } = this.#policy;
    const has = layerTypeOf(layer.mediaType)?.compression;
    // Nothing else can stand in docker's manifest.
    if (has === 'zstd' && format === 'v2s2' && wanted !== 'none') {
      return isPinned(this.#options, this.#destination) ? undefined : { format: 'gzip' };
    }
    if (wanted === undefined || wanted === 'none') return wanted;
    return has === 'none' || (isStrict && has !== wanted.format) ? wanted : undefined;
  }

  async #convertLayer(
    layer: Descriptor,
    wanted: CompressionChoice | 'none',
    { format, own, diffID, what }: LayerPlace,
  ): Promise<Descriptor> {
    this.#tell(layer, 'layer', 'copying', 0);
    const isStrict = this.#policy.isStrict || (wanted !== 'none' && format === 'v2s2');
    const converted = await convertLayer(layer, this.#watched(layer), wanted, isStrict, diffID);
    if (converted === undefined) {
      return this.#called(await this.#putBlob(layer, 'layer'), format, own, what);
    }
    await using spooled = converted.spooled;
    const mediaType = layerTypeIn(format, { compression: converted.compression, isForeign: false })!;
    const descriptor: Descriptor = { ...layer, mediaType, digest: spooled.digest, size: spooled.sizeBytes };
    const state = await this.#destination.putBlob(descriptor, (offset) => spooled.open(offset), this.#signal());
    this.#tell(layer, 'layer', state === 'stored' ? 'done' : state, layer.size);
    return descriptor;
  }

  /** A layer's bytes, with progress told by what was read: what is written of them is not known before their end. */
  async *#watched(layer: Descriptor): AsyncGenerator<Uint8Array, void, void> {
    let read = 0;
    for await (const chunk of abortable(this.#source.blob(layer, this.#signal()), this.#options.signal)) {
      read += chunk.byteLength;
      this.#tell(layer, 'layer', 'copying', read);
      yield chunk;
    }
  }

  /** A layer as a manifest of this format calls it. */
  #called(layer: Descriptor, format: ManifestFormat, own: ManifestFormat, what: string): Descriptor {
    if (format === own) return layer;
    const type = layerTypeOf(layer.mediaType);
    const mediaType = type === undefined ? undefined : layerTypeIn(format, type);
    if (mediaType !== undefined) return { ...layer, mediaType };
    throw new TareError(
      'Unsupported',
      `${what}: layer ${layer.digest} is of type ${layer.mediaType}, which has no name in the format ${format}`,
    );
  }

  /** @param known its bytes, if they were read already */
  #copyBlob(descriptor: Descriptor, kind: CopyProgress['kind'], known?: Buffer): Promise<Descriptor> {
    return this.#once(descriptor.digest, () => this.#slots.run(() => this.#putBlob(descriptor, kind, known)));
  }

  async #putBlob(descriptor: Descriptor, kind: CopyProgress['kind'], known?: Buffer): Promise<Descriptor> {
    this.#tell(descriptor, kind, 'copying', 0);
    const state = await this.#destination.putBlob(
      descriptor,
      (offset) =>
        known === undefined
          ? this.#source.blob(descriptor, { offset, ...this.#signal() })
          : Readable.from([known.subarray(offset)]),
      {
        ...this.#signal(),
        origin: this.#source.repository,
        onProgress: (bytes) => this.#tell(descriptor, kind, 'copying', bytes),
      },
    );
    this.#tell(descriptor, kind, state === 'stored' ? 'done' : state, descriptor.size);
    return descriptor;
  }

  async #once(key: string, work: () => Promise<Descriptor>): Promise<Descriptor> {
    let job = this.#blobs.get(key);
    if (job === undefined) {
      job = work();
      this.#blobs.set(key, job);
    }
    return await job;
  }

  async #document(descriptor: Descriptor): Promise<ImageDocument> {
    this.#documents += 1;
    if (this.#documents > MAX_DOCUMENTS) {
      throw new TareError('InvalidArgument', `${this.#source.what}: more than ${MAX_DOCUMENTS} indexes and manifests`);
    }
    const document = await this.#slots.run(() => this.#source.manifest(descriptor));
    this.#documentBytes += document.bytes.byteLength;
    if (this.#documentBytes <= MAX_DOCUMENTS_BYTES) return document;
    throw new TareError(
      'InvalidArgument',
      `${this.#source.what}: indexes and manifests of more than ${MAX_DOCUMENTS_BYTES} bytes together`,
    );
  }

  #parse({ bytes, descriptor }: ImageDocument): Manifest | Index {
    return parseManifest(bytes, `${this.#source.what}: ${descriptor.digest}`, descriptor.mediaType);
  }

  /**
   * Signatures speak of one digest: whoever has them must not change.
   * @param instance undefined: it is what the source's name stands for
   */
  async #findSignatures(digest: Digest, instance: Digest | undefined): Promise<void> {
    if (this.#options.removeSignatures === true) return;
    const signatures = await this.#source.signatures(instance);
    if (signatures.length === 0) return;
    if (!this.#destination.rules.signatures) {
      throw new TareError(
        'Unsupported',
        `${this.#destination.what} cannot keep the signatures of ${this.#source.what}: copy with --remove-signatures`,
      );
    }
    this.#signatures.set(digest, signatures);
  }

  #change(original: ImageDocument, convert: () => NewDocument): NewDocument {
    const { digest } = original.descriptor;
    const keep = (why: string) =>
      new TareError(
        'Unsupported',
        `${this.#source.what}: ${digest} would have to change for ${this.#destination.what}, ${why}`,
      );
    if (this.#signatures.has(digest)) throw keep('but it is signed: copy with --remove-signatures');
    if (this.#options.preserveDigests === true) throw keep('but digests are to be kept');
    if (this.#options.withReferrers === true) throw keep('but what refers to it knows it by its digest');
    if (this.#destination.rules.digest !== undefined) throw keep('whose name is a digest: name a tag');
    return convert();
  }

  /** What refers to a document by its digest, and what refers to that. */
  async #copyReferrers(document: ImageDocument, parsed: Manifest | Index, depth: number): Promise<void> {
    const { digest } = document.descriptor;
    for (const suffix of cosignSuffixes) {
      const tag = `sha256-${hexOf(digest)}.${suffix}`;
      const found = await this.#source.tagged(tag);
      if (found !== undefined) await this.#copyBeside(found, { tag }, depth);
    }
    for (const referrer of await this.#source.referrers(digest)) {
      await this.#copyBeside(await this.#document(referrer), 'referrer', depth);
    }
    if (parsed.kind !== 'index') return;
    for (const entry of parsed.manifests) {
      const child = await this.#document(entry);
      await this.#copyReferrers(child, this.#parse(child), depth);
    }
  }

  async #copyBeside(document: ImageDocument, role: ManifestRole, depth: number): Promise<void> {
    if (depth >= MAX_DEPTH) throw this.#tooDeep();
    const parsed = this.#parse(document);
    const copied = await this.#copyDocument(document, parsed, depth);
    await this.#destination.putManifest(copied.mediaType, copied.bytes, role);
    this.#tell(describe(copied), 'manifest', 'done', copied.bytes.byteLength);
    await this.#copyReferrers(document, parsed, depth + 1);
  }

  #signal(): { signal?: AbortSignal } {
    return this.#options.signal === undefined ? {} : { signal: this.#options.signal };
  }

  #tell(descriptor: Descriptor, kind: CopyProgress['kind'], state: CopyProgress['state'], copiedBytes: number): void {
    this.#options.onProgress?.({ descriptor, kind, state, copiedBytes });
  }

  #tooDeep(): TareError {
    return new TareError(
      'InvalidArgument',
      `${this.#source.what}: documents inside documents, more than ${MAX_DEPTH} deep`,
    );
  }
}

/** @throws {TareError} InvalidArgument: not one for each layer */
function diffIDsIn(config: Buffer, layers: number, what: string): readonly DiffID[] {
  const { diff_ids: diffIDs } = parseImageConfig(config, `${what}: config`).rootfs;
  if (diffIDs.length === layers) return diffIDs;
  throw new TareError(
    'InvalidArgument',
    `${what}: it lists ${layers} layers, but its config ${diffIDs.length} diff_ids: they must be as many`,
  );
}

const asIs = ({ descriptor, bytes }: ImageDocument): NewDocument => ({ mediaType: descriptor.mediaType, bytes });
