import { TareError } from '../errors/index.ts';
import {
  type BlobGrowth,
  type BlobReader,
  type Compression,
  type DiffID,
  type Digest,
  DigestMismatch,
  type Layer,
  type LayerInput,
  type LayerStore,
} from '../storage/index.ts';

/** The stores that images are read into. */
export interface UnpackStores {
  content: Pick<BlobReader, 'path'>;
  layers: Pick<LayerStore, 'has' | 'layer' | 'apply'>;
}

/**
 * Unpacks layers while more of them arrive. A layer may be started before anybody knows which diffID the image wants: the
 * work is the same, and the comparison comes later. Disposing stops what still runs.
 */
export class Unpacker implements AsyncDisposable {
  readonly #stores: UnpackStores;
  readonly #known: ReadonlyMap<Digest, DiffID>;
  readonly #jobs = new Map<Digest, Promise<Layer>>();
  /** Blobs whose job goes by what is known of them. */
  readonly #guessed = new Set<Digest>();
  readonly #abort = new AbortController();

  /** @param known diffIDs that blobs are said to have: most were unpacked before, some only by an image's own word */
  constructor(stores: UnpackStores, known: ReadonlyMap<Digest, DiffID>) {
    this.#stores = stores;
    this.#known = known;
  }

  /**
   * Starts unpacking a committed blob; nothing happens when it was started before. Failures show in `finish`.
   *
   * @param compression undefined: told by its first bytes
   * @param diffID when it is known already
   */
  start(digest: Digest, compression: Compression | undefined, diffID?: DiffID): void {
    if (!this.#jobs.has(digest)) this.#keep(digest, this.#unpack(digest, compression, diffID));
  }

  /**
   * Starts unpacking a blob while it comes, unless its layer is known to be there.
   *
   * @param growth taken over: disposed once nobody reads it
   * @param diffID when it is known already
   */
  follow(digest: Digest, growth: BlobGrowth, diffID?: DiffID): void {
    if (this.#jobs.has(digest)) growth[Symbol.dispose]();
    else this.#keep(digest, this.#follow(digest, growth, diffID));
  }

  /**
   * Waits until a blob is unpacked.
   *
   * @param expected from the image's config
   * @param what names the image in errors
   * @throws {TareError} InvalidArgument: it unpacks to another diffID, or is no layer
   */
  async finish(digest: Digest, compression: Compression | undefined, expected: DiffID, what: string): Promise<Layer> {
    this.start(digest, compression, expected);
    const job = this.#jobs.get(digest);
    const { diffID, layer } = await this.#end(digest, compression, expected);
    if (layer !== undefined && diffID === expected) return layer;
    // Two images contradict each other, and nobody may have unpacked the other one: the blob itself decides.
    if (this.#guessed.delete(digest)) this.#keep(digest, this.#measure(digest, compression));
    if (this.#jobs.get(digest) !== job) return await this.finish(digest, compression, expected, what);
    throw new TareError(
      'InvalidArgument',
      `${what}: layer ${digest} unpacks to diffID ${diffID}, but the config says ${expected}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await Promise.allSettled(this.#jobs.values());
  }

  #keep(digest: Digest, job: Promise<Layer>): void {
    job.catch(() => {}); // whoever needs the layer awaits the job itself
    this.#jobs.set(digest, job);
  }

  async #end(
    digest: Digest,
    compression: Compression | undefined,
    expected: DiffID,
  ): Promise<{ diffID: string; layer?: Layer }> {
    try {
      const layer = await this.#jobs.get(digest)!;
      return { diffID: layer.diffID, layer };
    } catch (error) {
      if (error instanceof DigestMismatch) return { diffID: error.actual };
      const isGivenUp = error instanceof Error && error.name === 'AbortError' && !this.#abort.signal.aborted;
      if (!isGivenUp) throw error;
      // The writer that was followed gave up, and another one stored the blob.
      this.#keep(digest, this.#unpack(digest, compression, expected));
      return await this.#end(digest, compression, expected);
    }
  }

  #guess(digest: Digest): DiffID | undefined {
    const known = this.#known.get(digest);
    if (known !== undefined) this.#guessed.add(digest);
    return known;
  }

  async #follow(digest: Digest, growth: BlobGrowth, expected: DiffID | undefined): Promise<Layer> {
    using _owned = growth;
    return await this.#apply({ growth }, expected ?? this.#guess(digest));
  }

  async #unpack(digest: Digest, compression: Compression | undefined, expected: DiffID | undefined): Promise<Layer> {
    // An uncompressed blob is its own layer: both names are the hash of the same bytes.
    const diffID = compression === 'none' ? (digest as string as DiffID) : (this.#guess(digest) ?? expected);
    const path = await this.#stores.content.path(digest);
    return await this.#apply(compression === undefined ? { path } : { path, compression }, diffID);
  }

  async #measure(digest: Digest, compression: Compression | undefined): Promise<Layer> {
    const path = await this.#stores.content.path(digest);
    return await this.#apply(compression === undefined ? { path } : { path, compression }, undefined);
  }

  async #apply(input: LayerInput, diffID: DiffID | undefined): Promise<Layer> {
    if (diffID !== undefined && (await this.#stores.layers.has(diffID))) return await this.#stores.layers.layer(diffID);
    return await this.#stores.layers.apply(input, diffID, this.#abort.signal);
  }
}
