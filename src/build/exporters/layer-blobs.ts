import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { TareError } from '../../errors/index.ts';
import { allEnded, compressedBlocks, mediaTypes, Slots, storedCompression } from '../../image/index.ts';
import {
  type BlobInfo,
  type Compression,
  type Descriptor,
  type DiffID,
  type Digest,
  DigestMismatch,
  decompress,
  type LayerName,
  type LocalLayer,
} from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { FOREIGN_FORM, findBlob, recordBlob } from '../cache/blob-records.ts';
import type { CompressionChoice } from './compression-choice.ts';
import { rewriteTimes } from './rewrite-times.ts';

/** A layer as it stands in an image. */
export interface ImageLayer {
  /** As the tree has it. */
  name: LayerName;
  diffID: DiffID;
  /** Of its blob, which is stored. */
  descriptor: Descriptor;
}

export interface LayerBlobOptions {
  compression: CompressionChoice;
  isOci: boolean;
  /** Later times in the files are set to this one; undefined: they stay. Not for layers of `keepTimes`. */
  rewriteMs?: number | undefined;
  /** Layers of base images, which stay as they came. */
  keepTimes?: ReadonlySet<DiffID>;
  signal: AbortSignal;
}

export type LayerBlobParts = Pick<BuilderParts, 'content' | 'layers' | 'images' | 'db'>;

/** Threads make tars, libuv's pool compresses: more at a time would only wait. */
const slots = new Slots(availableParallelism());

/** The blobs of a tree's layers, made where there are none; base first. Hold the stores' content meanwhile. */
export async function layerBlobs(
  parts: LayerBlobParts,
  names: readonly LayerName[],
  options: LayerBlobOptions,
): Promise<ImageLayer[]> {
  const failure = new AbortController();
  const signal = AbortSignal.any([options.signal, failure.signal]);
  const works = names.map((name) =>
    slots.run(async () => {
      try {
        signal.throwIfAborted();
        return await layerBlob(parts, name, { ...options, signal });
      } catch (error) {
        // The first to fail stops the others, and is what the others' errors come from.
        failure.abort(error);
        throw failure.signal.reason;
      }
    }),
  );
  return await allEnded(works);
}

async function layerBlob(
  parts: LayerBlobParts,
  name: LayerName,
  { compression, isOci, rewriteMs, keepTimes, signal }: LayerBlobOptions,
): Promise<ImageLayer> {
  const limitMs = !isLocal(name) && keepTimes?.has(name) === true ? undefined : rewriteMs;
  const form = formOf(compression, limitMs);
  const made = findBlob(parts, name, form);
  // Of a layer that was made here and has lost its name by diffID nothing could be unpacked but once more.
  const isNamed =
    limitMs !== undefined || !isLocal(name) || (made !== undefined && (await parts.layers.has(made.diffID)));
  if (made !== undefined && isNamed && (await parts.content.has(made.descriptor.digest))) {
    const { digest, size } = made.descriptor;
    return { name, diffID: made.diffID, descriptor: describe({ digest, size, kind: compression.kind }, isOci) };
  }
  const diffID = await packed(parts, name, limitMs, signal);
  const known = await knownBlobs(parts, name, diffID);
  const fitting = isLocal(name) ? known.find(({ kind }) => kind === compression.kind) : choose(known, compression);
  if (fitting !== undefined) {
    const descriptor = describe(fitting, isOci);
    if (limitMs !== undefined) await recordBlob(parts, name, form, { diffID, descriptor });
    return { name, diffID, descriptor };
  }
  const source = known[0];
  if (source === undefined) throw noBlob(diffID);
  const { digest, sizeBytes } = await convert(parts, source, diffID, compression, signal);
  const descriptor = describe({ digest, size: sizeBytes, kind: compression.kind }, isOci);
  await recordBlob(parts, name, form, { diffID, descriptor });
  return { name, diffID, descriptor };
}

/** Names what is made of a layer: equal forms of one layer are equal bytes. */
const formOf = ({ kind, level }: CompressionChoice, limitMs: number | undefined): string =>
  [
    kind,
    ...(level === undefined ? [] : [`level ${level}`]),
    ...(limitMs === undefined ? [] : [`until ${limitMs}`]),
  ].join();

/** The tar that is to be in the blob, made if this builder made the layer. @returns its diffID */
async function packed(
  parts: LayerBlobParts,
  name: LayerName,
  limitMs: number | undefined,
  signal: AbortSignal,
): Promise<DiffID> {
  const { layers, content } = parts;
  if (!isLocal(name)) return limitMs === undefined ? name : await rewritten(parts, name, limitMs, signal);
  const clamp = limitMs === undefined ? {} : { clampToSeconds: Math.floor(limitMs / 1000) };
  return (await layers.seal(name, content, { ...clamp, signal })).diffID;
}

interface KnownBlob {
  digest: Digest;
  size: number;
  kind: Compression;
}

/** Stored blobs of a layer, its plain tar first: that is the one to make others from. */
async function knownBlobs(parts: LayerBlobParts, name: LayerName, diffID: DiffID): Promise<KnownBlob[]> {
  const { content, images } = parts;
  const known: KnownBlob[] = [];
  const plain = diffID as string as Digest;
  if (await content.has(plain))
    known.push({ digest: plain, size: (await content.info(plain)).sizeBytes, kind: 'none' });
  // Of a layer that was made here each form is made alike, whatever other blobs images have of it.
  if (isLocal(name)) return known;
  const foreign = findBlob(parts, name, FOREIGN_FORM);
  const descriptors = foreign?.diffID === diffID ? [foreign.descriptor] : [];
  for (const { digest, size } of [...descriptors, ...(await images.layerBlobs(diffID))]) {
    if (known.some((other) => other.digest === digest) || !(await content.has(digest))) continue;
    known.push({ digest, size, kind: await storedCompression(content, digest) });
  }
  return known;
}

/** Without force, what is compressed stays as it is, as BuildKit leaves the layers of base images. */
function choose(known: readonly KnownBlob[], { kind, isForced, level }: CompressionChoice): KnownBlob | undefined {
  const isSame = (blob: KnownBlob) => blob.kind === kind && !(isForced && level !== undefined);
  return (
    known.find(isSame) ?? (isForced ? undefined : known.find((blob) => blob.kind === 'gzip' || blob.kind === 'zstd'))
  );
}

/** @throws {DigestMismatch} what is stored is damaged: it must not get a new digest, by which it would count as whole */
async function convert(
  { content }: LayerBlobParts,
  source: KnownBlob,
  diffID: DiffID,
  { kind, level }: CompressionChoice,
  signal: AbortSignal,
): Promise<BlobInfo> {
  await using writer = await content.writer();
  const hash = createHash('sha256');
  const plain = async function* () {
    for await (const chunk of decompress(content.open(source.digest), source.kind)) {
      signal.throwIfAborted();
      hash.update(chunk);
      yield chunk;
    }
  };
  const packed =
    kind === 'none' ? plain() : compressedBlocks(plain(), { kind, ...(level === undefined ? {} : { level }) });
  for await (const chunk of packed) await writer.write(chunk);
  const actual = `sha256:${hash.digest('hex')}`;
  if (actual !== diffID) throw new DigestMismatch(`stored layer ${source.digest}`, diffID, actual);
  return await writer.commit();
}

/** The same layer with no later times. @returns its diffID; its plain tar is stored */
async function rewritten(
  parts: LayerBlobParts,
  diffID: DiffID,
  rewriteMs: number,
  signal: AbortSignal,
): Promise<DiffID> {
  const { content } = parts;
  const [source] = await knownBlobs(parts, diffID, diffID);
  if (source === undefined) throw noBlob(diffID);
  await using writer = await content.writer();
  const plain = async function* () {
    for await (const chunk of decompress(content.open(source.digest), source.kind)) {
      signal.throwIfAborted();
      yield chunk;
    }
  };
  for await (const chunk of rewriteTimes(plain(), rewriteMs)) await writer.write(chunk);
  return (await writer.commit()).digest as string as DiffID;
}

const isLocal = (name: LayerName): name is LocalLayer => name.startsWith('local:');

function describe({ digest, size, kind }: KnownBlob, isOci: boolean): Descriptor {
  const own = isOci ? mediaTypes.layer : mediaTypes.dockerLayer;
  if (kind === 'none') return { mediaType: own, digest, size };
  if (kind === 'gzip') return { mediaType: isOci ? mediaTypes.layerGzip : mediaTypes.dockerLayerGzip, digest, size };
  if (kind === 'zstd' && isOci) return { mediaType: mediaTypes.layerZstd, digest, size };
  throw new TareError(
    'InvalidArgument',
    kind === 'zstd'
      ? `layer ${digest} is compressed with zstd, for which docker's media types have none: set oci-mediatypes=true`
      : `layer ${digest} is compressed with ${kind}, which images can't have: set compression=gzip and force-compression=true`,
  );
}

const noBlob = (diffID: DiffID) =>
  new TareError('NotFound', `layer ${diffID}: none of its blobs is stored: pull the image that it is of again`);
