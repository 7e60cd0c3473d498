import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import {
  canonical,
  familiar,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseAnyReference,
  parseManifest,
  readConfig,
  type StoredImage,
  withDefaultTag,
} from '../../../image/index.ts';
import type { Transaction } from '../../../state/index.ts';
import type { DiffID, Digest } from '../../../storage/index.ts';
import { findImage, putImage, type RecordedImage, retireImage } from '../../image-records.ts';
import type { WorkingDeps } from './working-deps.ts';
import type { FromOptions } from './working-types.ts';

/** What a working container begins with. What was made for it alone stays until this is disposed, and then only if it was recorded. */
export interface WorkingBase extends AsyncDisposable {
  image: Pick<StoredImage, 'id' | 'config'>;
  /** Unpacked, base first. */
  layers: readonly DiffID[];
  /** To be called in the transaction that records the container. */
  record(tx: Transaction): void;
}

/**
 * An image, its ONBUILD instructions done as a build that begins with it does them: in a step's isolation, with files of the context folder
 * alone. The image that this makes is recorded with its container and not before, as one that only containers use.
 *
 * @throws what a build throws; {TareError} InvalidArgument: an image without a name, by which a build could begin with it
 */
export async function withTriggersDone(
  deps: WorkingDeps,
  ref: string,
  image: RecordedImage,
  options: FromOptions,
): Promise<WorkingBase> {
  if ((image.config.config?.OnBuild ?? []).length === 0) {
    const layers = await deps.images.ensureUnpacked(image.id);
    return { image, layers, record: () => {}, [Symbol.asyncDispose]: async () => {} };
  }
  await using undo = new AsyncDisposableStack();
  undo.defer(async () => void (await deps.images.collect()));
  undo.use(await deps.images.hold());
  const made = await builtImage(deps, await buildTriggers(deps, ref, image, options), ref);
  const owned = undo.move();
  return {
    image: made,
    layers: made.layers.map(({ diffID }) => diffID),
    record: (tx) => {
      // Equal to one that is here: that stays what it is.
      if (findImage(tx, made.id) !== undefined) return;
      putImage(tx, made);
      retireImage(tx, made.id);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** @returns digest of the manifest: its image lies in the stores, and has no record */
async function buildTriggers(
  deps: WorkingDeps,
  ref: string,
  image: RecordedImage,
  { contextFolder, platform, progress = () => {}, signal }: FromOptions,
): Promise<Digest> {
  const text = Buffer.from(`FROM ${nameFor(ref, image)}\n`);
  const alone = async function* () {
    yield text;
  };
  const options = {
    ...(contextFolder === undefined
      ? { context: { stream: alone() } }
      : { context: { folder: contextFolder }, dockerfile: { bytes: text } }),
    ...(platform === undefined ? {} : { platforms: [platform] }),
    outputs: [{ type: 'image', attributes: { store: 'false' } }],
  };
  try {
    return (await deps.build(options, { progress, ...(signal && { signal }) })).digest as Digest;
  } catch (error) {
    if (contextFolder !== undefined || signal?.aborted === true) throw error;
    const hint = `the ONBUILD instructions of ${ref} were done without files: --contextdir names the folder of those that they copy`;
    throw new TareError(kindOf(error), `${messageOf(error)}; ${hint}`, { cause: error });
  }
}

async function builtImage({ content, parts }: WorkingDeps, digest: Digest, what: string): Promise<StoredImage> {
  const bytes = await content.read(digest, MAX_MANIFEST_BYTES);
  const manifest = parseManifest(bytes, what) as Manifest;
  const { digest: id, size: sizeBytes } = manifest.config;
  const config = await readConfig(content, { digest: id, sizeBytes }, what);
  const layers = manifest.layers.map(async ({ digest, mediaType, size: blobBytes }, index) => {
    const { diffID, sizeBytes: unpackedBytes } = await parts.layers.layer(config.rootfs.diff_ids[index]!);
    return { digest, diffID, mediaType, blobBytes, unpackedBytes };
  });
  const { mediaType } = manifest;
  return { id, manifest: { mediaType, digest, size: bytes.length }, config, layers: await Promise.all(layers) };
}

function nameFor(ref: string, { references: [known] }: RecordedImage): string {
  const parsed = parseAnyReference(ref);
  if ('name' in parsed) return canonical(withDefaultTag(parsed.name));
  if (known !== undefined) return familiar(known);
  throw new TareError('InvalidArgument', `${ref} has ONBUILD instructions: give the image a name, and begin with that`);
}
