import { TareError } from '../errors/index.ts';
import type { BlobGrowth, BlobReader, Compression, DiffID, Digest, Layer, LayerStore } from '../storage/index.ts';

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
  readonly #abort = new AbortController();

  /** @param known diffIDs of blobs that were unpacked and checked before */
  constructor(stores: UnpackStores, known: ReadonlyMap<Digest, DiffID>) {
    this.#stores = stores;
    this.#known = known;
  }

  /** Starts unpacking a committed blob; nothing happens when it was started before. Failures show in `finish`. */
  start(digest: Digest, compression: Compression): void {
    if (this.#jobs.has(digest)) return;
    const job = this.#unpack(digest, compression);
    job.catch(() => {}); // whoever needs the layer awaits the job itself
    this.#jobs.set(digest, job);
  }

  /**
   * Starts unpacking a blob while it comes, unless its layer is known to be there.
   *
   * @param growth taken over: disposed once nobody reads it
   * @param diffID when it is known already
   */
  follow(digest: Digest, growth: BlobGrowth, diffID?: DiffID): void {
    if (this.#jobs.has(digest)) {
      growth[Symbol.dispose]();
      return;
    }
    const job = this.#follow(digest, growth, diffID);
    job.catch(() => {});
    this.#jobs.set(digest, job);
  }

  /**
   * Waits until a blob is unpacked.
   *
   * @param expected from the image's config
   * @param what names the image in errors
   * @throws {TareError} InvalidArgument: it unpacks to another diffID, or is no layer
   */
  async finish(digest: Digest, compression: Compression, expected: DiffID, what: string): Promise<Layer> {
    this.start(digest, compression);
    const layer = await this.#jobs.get(digest)!;
    if (layer.diffID === expected) return layer;
    throw new TareError(
      'InvalidArgument',
      `${what}: layer ${digest} unpacks to diffID ${layer.diffID}, but the config says ${expected}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await Promise.allSettled(this.#jobs.values());
  }

  async #follow(digest: Digest, growth: BlobGrowth, expected: DiffID | undefined): Promise<Layer> {
    using _owned = growth;
    const diffID = expected ?? this.#known.get(digest);
    if (diffID !== undefined && (await this.#stores.layers.has(diffID))) return await this.#stores.layers.layer(diffID);
    return await this.#stores.layers.apply({ growth }, diffID, this.#abort.signal);
  }

  async #unpack(digest: Digest, compression: Compression): Promise<Layer> {
    // An uncompressed blob is its own layer: both names are the hash of the same bytes.
    const diffID = compression === 'none' ? (digest as string as DiffID) : this.#known.get(digest);
    if (diffID !== undefined && (await this.#stores.layers.has(diffID))) return await this.#stores.layers.layer(diffID);
    const path = await this.#stores.content.path(digest);
    return await this.#stores.layers.apply({ path, compression }, diffID, this.#abort.signal);
  }
}
