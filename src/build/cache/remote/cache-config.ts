import { TareError } from '../../../errors/index.ts';
import { isLayerType } from '../../../image/index.ts';
import { type Descriptor, type DiffID, type Digest, isDigest } from '../../../storage/index.ts';
import type { CarriedInput, CarriedRecord, RemoteLayer, RemoteResult } from './carried.ts';

export const CACHE_CONFIG_TYPE = 'application/vnd.buildkit.cacheconfig.v0';
/** A cache of a hundred thousand steps is no build's. */
const MAX_RECORDS = 100_000;
const MAX_LAYERS = 100_000;
const MAX_INPUTS = 10_000;
/** Layers that one result may stand on; overlayfs stacks no more. */
const MAX_STACK = 500;
export const MAX_CACHE_CONFIG_BYTES = 64 << 20;

/** What BuildKit's descriptors of layers say of them. */
const keys = {
  diffID: 'containerd.io/uncompressed',
  created: 'buildkit/createdat',
  description: 'buildkit/description',
} as const;
const MAX_DESCRIPTION = 1000;

/** A layer of the document, known by its blob and where it stands. */
interface ConfigLayer {
  blob: string;
  /** Position of the layer below; -1: none. */
  parent: number;
  annotations?: { mediaType?: string; diffID?: string; size?: number; createdAt?: string };
}

interface ConfigRecord {
  layers?: { layer: number; createdAt?: string }[];
  chains?: { layers: number[]; createdAt?: string }[];
  digest: string;
  inputs?: { selector?: string; link: number }[][];
}

/**
 * Records of the cache in BuildKit's form: layers as a forest that results point into.
 * @see moby/buildkit, cache/remotecache/v1/spec.go
 */
export function cacheConfigOf(records: readonly CarriedRecord<RemoteResult>[]): {
  bytes: Buffer;
  /** Blobs that the document names, each once. */
  blobs: Descriptor[];
} {
  const layers: ConfigLayer[] = [];
  const known = new Map<string, number>();
  const blobs = new Map<string, Descriptor>();
  const place = ({ layers: stack, createdMs }: RemoteResult): number => {
    let parent = -1;
    for (const layer of stack) {
      const { diffID, descriptor } = layer;
      const key = `${parent} ${descriptor.digest}`;
      const position = known.get(key) ?? layers.length;
      if (position === layers.length) {
        known.set(key, position);
        blobs.set(descriptor.digest, annotated(layer));
        const { mediaType, size, digest: blob } = descriptor;
        const createdAt = timeOf(layer.createdMs ?? createdMs);
        layers.push({ blob, parent, annotations: { mediaType, diffID, size, createdAt } });
      }
      parent = position;
    }
    return parent;
  };
  const written = records.map(({ digest, inputs, results }): ConfigRecord => {
    const placed = results
      // A tree without layers has no place in the form.
      .filter(({ layers: stack }) => stack.length > 0)
      .map((result) => ({ layer: place(result), createdAt: timeOf(result.createdMs) }));
    return {
      ...(placed.length === 0 ? {} : { layers: placed }),
      digest,
      ...(inputs.length === 0 ? {} : { inputs: inputs.map((links) => links.map(writtenInput)) }),
    };
  });
  return { bytes: Buffer.from(JSON.stringify({ layers, records: written })), blobs: [...blobs.values()] };
}

/** With what an importer needs to know of the blob. */
function annotated({ diffID, descriptor, createdMs, description }: RemoteLayer): Descriptor {
  const { mediaType, digest, size } = descriptor;
  return {
    ...{ mediaType, digest, size },
    annotations: {
      [keys.diffID]: diffID,
      ...(createdMs === undefined ? {} : { [keys.created]: timeOf(createdMs) }),
      ...(description ? { [keys.description]: description } : {}),
    },
  };
}

const timeOf = (ms: number): string => new Date(ms).toISOString();
const writtenInput = ({ record, selector }: CarriedInput) => ({
  ...(selector === '' ? {} : { selector }),
  link: record,
});

/** Records for an image's own config: results are layers of the image, by their positions. */
export function inlineRecordsOf(
  records: readonly CarriedRecord<RemoteResult>[],
  imageLayers: readonly { diffID: DiffID }[],
): Buffer | undefined {
  const positions = new Map(imageLayers.map(({ diffID }, position) => [diffID, position]));
  let isAny = false;
  const written = records.map(({ digest, inputs, results }): ConfigRecord => {
    const inImage = results.filter(
      ({ layers }) => layers.length > 0 && layers.every(({ diffID }) => positions.has(diffID)),
    );
    // The image's first layers, or any of them laid on each other (`COPY --link`).
    const isFirst = ({ layers }: RemoteResult) =>
      layers.every(({ diffID }, position) => diffID === imageLayers[position]?.diffID);
    const first = inImage.filter(isFirst).map(({ layers, createdMs }) => ({
      ...{ layer: layers.length - 1, createdAt: timeOf(createdMs) },
    }));
    const chains = inImage
      .filter((result) => !isFirst(result))
      .map(({ layers, createdMs }) => ({
        layers: layers.map(({ diffID }) => positions.get(diffID)!),
        createdAt: timeOf(createdMs),
      }));
    isAny ||= inImage.length > 0;
    return {
      ...(first.length === 0 ? {} : { layers: first }),
      ...(chains.length === 0 ? {} : { chains }),
      digest,
      ...(inputs.length === 0 ? {} : { inputs: inputs.map((links) => links.map(writtenInput)) }),
    };
  });
  return isAny ? Buffer.from(JSON.stringify(written)) : undefined;
}

const invalid = (what: string, problem: string) => new TareError('InvalidArgument', `${what}: ${problem}`);

type Foreign = Record<string, unknown>;

/**
 * Reads the document of a foreign cache. Its blobs must be among those that came with it.
 *
 * @param described blobs of the manifest or index that the document came with
 * @throws {TareError} InvalidArgument: what is wrong, and where
 */
export function parseCacheConfig(
  bytes: Uint8Array,
  described: ReadonlyMap<string, Descriptor>,
  what: string,
): CarriedRecord<RemoteResult>[] {
  const document = objectOf(parse(bytes, what), what);
  const layers = listOf(document['layers'], `${what}: layers`, MAX_LAYERS).map((value, index) =>
    parseLayer(value, `${what}: layers[${index}]`, described),
  );
  return parseRecords(document['records'], layers, what);
}

/** Reads records that stand in an image's config. @param imageLayers of that image, base first */
export function parseInlineRecords(
  bytes: Uint8Array,
  imageLayers: RemoteResult['layers'],
  createdMs: number,
  what: string,
): CarriedRecord<RemoteResult>[] {
  const layers = imageLayers.map((layer, index) => ({ createdMs, ...layer, parent: index - 1 }));
  return parseRecords(parse(bytes, what), layers, what);
}

interface ParsedLayer extends RemoteLayer {
  parent: number;
}

function parse(bytes: Uint8Array, what: string): unknown {
  if (bytes.byteLength > MAX_CACHE_CONFIG_BYTES) {
    throw invalid(what, `${bytes.byteLength} bytes, at most ${MAX_CACHE_CONFIG_BYTES} are allowed`);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TareError('InvalidArgument', `${what} is not valid JSON: ${(cause as Error).message}`, { cause });
  }
}

function parseLayer(value: unknown, where: string, described: ReadonlyMap<string, Descriptor>): ParsedLayer {
  const layer = objectOf(value, where);
  const descriptor = described.get(String(layer['blob']));
  if (descriptor === undefined) throw invalid(where, 'its blob does not come with the cache');
  if (!isLayerType(descriptor.mediaType)) throw invalid(where, `its blob is of type ${descriptor.mediaType}, no layer`);
  const annotations = layer['annotations'] == null ? {} : objectOf(layer['annotations'], `${where}.annotations`);
  const said = descriptor.annotations ?? {};
  const createdMs = timeAt(annotations['createdAt']) || timeAt(said[keys.created]);
  const description = said[keys.description];
  const diffID = annotations['diffID'] ?? said[keys.diffID];
  if (typeof diffID !== 'string' || !isDigest(diffID)) throw invalid(where, 'it has no diffID');
  return {
    diffID: diffID as string as DiffID,
    descriptor,
    // Go leaves zeros out.
    parent: indexOf(layer['parent'] ?? 0, `${where}.parent`, -1, MAX_LAYERS),
    ...(createdMs === 0 ? {} : { createdMs }),
    ...(typeof description === 'string' ? { description: description.slice(0, MAX_DESCRIPTION) } : {}),
  };
}

function parseRecords(value: unknown, layers: readonly ParsedLayer[], what: string): CarriedRecord<RemoteResult>[] {
  const list = listOf(value, `${what}: records`, MAX_RECORDS);
  const budget = { inputs: 0, stacked: 0 };
  const records = list.map((entry, index) =>
    parseRecord(entry, `${what}: records[${index}]`, list.length, layers, budget),
  );
  return sorted(records, what);
}

function parseRecord(
  value: unknown,
  where: string,
  count: number,
  layers: readonly ParsedLayer[],
  budget: { inputs: number; stacked: number },
): CarriedRecord<RemoteResult> {
  const record = objectOf(value, where);
  const { digest } = record;
  if (typeof digest !== 'string' || !/^(sha256|random):[0-9a-f]{64}$/.test(digest))
    throw invalid(where, 'it has no digest');
  const inputs = listOf(record['inputs'], `${where}.inputs`, MAX_INPUTS).map((links, input) =>
    listOf(links, `${where}.inputs[${input}]`, MAX_INPUTS).map((link, position): CarriedInput => {
      const at = `${where}.inputs[${input}][${position}]`;
      if (++budget.inputs > MAX_RECORDS * 10) throw invalid(at, 'too many links');
      const { link: target, selector } = objectOf(link, at);
      if (selector !== undefined && (typeof selector !== 'string' || selector.length > 4096))
        throw invalid(at, 'its selector is no text of at most 4096 characters');
      return { record: indexOf(target ?? 0, `${at}.link`, 0, count), selector: selector ?? '' };
    }),
  );
  const results = [
    ...listOf(record['layers'], `${where}.layers`, 1000).map((entry, position) => {
      const at = `${where}.layers[${position}]`;
      const { layer, createdAt } = objectOf(entry, at);
      return resultOf(stackOf(indexOf(layer ?? 0, `${at}.layer`, 0, layers.length), layers, at), createdAt);
    }),
    ...listOf(record['chains'], `${where}.chains`, 1000).map((entry, position) => {
      const at = `${where}.chains[${position}]`;
      const { layers: chain, createdAt } = objectOf(entry, at);
      const stack = listOf(chain, `${at}.layers`, MAX_STACK).map((one) => layers[indexOf(one, at, 0, layers.length)]!);
      return resultOf(stack, createdAt);
    }),
  ];
  for (const { layers: stack } of results) budget.stacked += stack.length;
  if (budget.stacked > MAX_RECORDS * 10) throw invalid(where, 'too many layers');
  return { digest, inputs, results };
}

function stackOf(top: number, layers: readonly ParsedLayer[], where: string): ParsedLayer[] {
  const stack: ParsedLayer[] = [];
  for (let at = top; at !== -1; ) {
    const layer = layers[at];
    if (layer === undefined) throw invalid(where, `layer ${at} does not exist`);
    stack.push(layer);
    at = layer.parent;
    if (stack.length > MAX_STACK) throw invalid(where, `more than ${MAX_STACK} layers, or a circle of them`);
  }
  return stack.reverse();
}

const resultOf = (stack: readonly ParsedLayer[], createdAt: unknown): RemoteResult => ({
  layers: stack.map(({ parent: _, ...layer }) => layer),
  createdMs: timeAt(createdAt) || (stack.at(-1)?.createdMs ?? 0),
});

/** Inputs before what they are inputs of. @throws {TareError} InvalidArgument: a circle */
function sorted(records: readonly CarriedRecord<RemoteResult>[], what: string): CarriedRecord<RemoteResult>[] {
  const places = new Map<number, number>();
  const order: number[] = [];
  const entered = new Set<number>();
  for (const start of records.keys()) {
    const waiting = [start];
    for (let top = waiting.at(-1); top !== undefined; top = waiting.at(-1)) {
      if (places.has(top)) {
        waiting.pop();
        continue;
      }
      const open = records[top]!.inputs.flat().filter(({ record }) => !places.has(record));
      if (open.length === 0) {
        places.set(top, order.length);
        order.push(top);
        waiting.pop();
        continue;
      }
      if (entered.has(top)) throw invalid(what, `records[${top}] is among its own inputs`);
      entered.add(top);
      for (const { record } of open) waiting.push(record);
    }
  }
  return order.map((position) => {
    const { digest, inputs, results } = records[position]!;
    const moved = inputs.map((links) =>
      links.map(({ record, selector }) => ({ record: places.get(record)!, selector })),
    );
    return { digest, inputs: moved, results };
  });
}

function objectOf(value: unknown, where: string): Foreign {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Foreign;
  throw invalid(where, 'want an object');
}

function listOf(value: unknown, where: string, limit: number): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(where, 'want a list');
  if (value.length > limit) throw invalid(where, `${value.length} entries, at most ${limit} are allowed`);
  return value;
}

function indexOf(value: unknown, where: string, least: number, end: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) < end) return value as number;
  throw invalid(where, `want a position from ${least} to ${end - 1}`);
}

/** 0: it says none that can be read. */
function timeAt(value: unknown): number {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return ms > 0 ? ms : 0;
}

/** The digests' names, for maps of what came with a document. */
export const byDigest = (descriptors: readonly Descriptor[]): Map<string, Descriptor> =>
  new Map(descriptors.map((descriptor) => [descriptor.digest as Digest as string, descriptor]));
