import { TareError } from '../../errors/index.ts';
import { type ImageConfigFile, type ImageHistoryEntry, MAX_CONFIG_BYTES, parseImageConfig } from '../../image/index.ts';
import type { DiffID } from '../../storage/index.ts';
import type { ExportedPart, LayerFacts } from '../exporter.ts';

/** What a layer of the image says to its history. */
export interface ConfigLayer {
  diffID: DiffID;
  /** Undefined: it was not made here. */
  facts: LayerFacts | undefined;
}

export interface ConfigOptions {
  /** Milliseconds since 1970: no time in the document is later. */
  epochMs?: number | undefined;
  /** When a layer counts as made that nothing is known of. */
  nowMs: number;
  /** BuildKit's cache, inline. */
  inlineCache?: Uint8Array | undefined;
}

const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * The config of an image: what the frontend said of it, with layers, a history that accounts for each of them, and times.
 * Fields that we don't know stay.
 *
 * @throws {TareError} InvalidArgument: the frontend's document is none of a config
 */
export function completeConfig(
  part: Pick<ExportedPart, 'config' | 'platform'>,
  layers: readonly ConfigLayer[],
  { epochMs, nowMs, inlineCache }: ConfigOptions,
): { bytes: Buffer; config: ImageConfigFile } {
  const document = documentOf(part);
  const said = readSaid(document);
  const history = timedHistory(completeHistory(said.history ?? [], layers, nowMs), layers, nowMs, epochMs);
  const last = history.findLast(({ created }) => created !== undefined)?.created;
  const created = clamped(said.created ?? last ?? new Date(nowMs).toISOString(), epochMs);
  const known = ['created', 'rootfs', 'history', 'moby.buildkit.cache.v0', 'moby.buildkit.buildinfo.v1'];
  const rest = Object.fromEntries(Object.entries(document).filter(([key]) => !known.includes(key)));
  const complete = {
    created,
    ...rest,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffID }) => diffID) },
    history,
    ...(inlineCache === undefined
      ? {}
      : {
          'moby.buildkit.cache.v0': Buffer.from(
            inlineCache.buffer,
            inlineCache.byteOffset,
            inlineCache.byteLength,
          ).toString('base64'),
        }),
  };
  const bytes = Buffer.from(JSON.stringify(complete));
  // What is stored is what every later reader takes.
  return { bytes, config: parseImageConfig(bytes, 'config of the built image') };
}

function documentOf({ config, platform }: Pick<ExportedPart, 'config' | 'platform'>): Record<string, unknown> {
  if (config !== undefined) {
    if (config.byteLength > MAX_CONFIG_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `the frontend's image config has ${config.byteLength} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
      );
    }
    let value: unknown;
    try {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(config));
    } catch (cause) {
      throw new TareError(
        'InvalidArgument',
        `the frontend's image config is not valid JSON: ${(cause as Error).message}`,
        { cause },
      );
    }
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    throw new TareError('InvalidArgument', "the frontend's image config is no JSON object");
  }
  const { os, architecture, variant, osVersion } = platform;
  return {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
    config: { Env: [`PATH=${defaultPath}`], WorkingDir: '/' },
  };
}

/** Checks the whole document, and reads what is to be completed. */
const readSaid = (document: Record<string, unknown>): ImageConfigFile =>
  parseImageConfig(
    Buffer.from(JSON.stringify({ ...document, rootfs: { type: 'layers', diff_ids: [] } })),
    'image config',
  );

/** Entries for layers that none speaks of; entries for layers that are not there become empty ones. */
function completeHistory(
  said: readonly ImageHistoryEntry[],
  layers: readonly ConfigLayer[],
  nowMs: number,
): ImageHistoryEntry[] {
  let spoken = 0;
  const history = said.map((entry) => {
    if (entry.empty_layer === true) return entry;
    if (spoken >= layers.length) return { ...entry, empty_layer: true };
    spoken += 1;
    return entry;
  });
  for (const { facts } of layers.slice(spoken)) {
    history.push({
      created: new Date(facts?.createdMs ?? nowMs).toISOString(),
      ...(facts === undefined ? {} : { created_by: facts.description }),
      comment: 'buildkit.exporter.image.v0',
    });
  }
  return history;
}

/**
 * Entries with layers have the layers' times, those without the time of the first new layer, or of what came before them.
 */
function timedHistory(
  said: readonly ImageHistoryEntry[],
  layers: readonly ConfigLayer[],
  nowMs: number,
  epochMs: number | undefined,
): ImageHistoryEntry[] {
  let position = 0;
  const ofLayers = said.map((entry) => {
    if (entry.empty_layer === true) return entry;
    const layer = layers[position++]!;
    if (entry.created !== undefined || layer.facts === undefined) return entry;
    return { ...entry, created: new Date(layer.facts.createdMs).toISOString() };
  });
  const firstOpen = ofLayers.findIndex(({ created }) => created === undefined);
  const next = ofLayers.slice(Math.max(firstOpen, 0)).find(({ created }) => created !== undefined)?.created;
  const before = ofLayers.findLast(({ created }) => created !== undefined)?.created;
  let current = next ?? before ?? new Date(nowMs).toISOString();
  let isOpen = false;
  return ofLayers.map((entry) => {
    if (entry.created === undefined) isOpen = true;
    else if (isOpen) current = entry.created;
    return { created: clamped(entry.created ?? current, epochMs), ...without(entry, 'created') };
  });
}

function without(entry: ImageHistoryEntry, key: keyof ImageHistoryEntry): ImageHistoryEntry {
  const { [key]: _left, ...rest } = entry;
  return rest;
}

const clamped = (time: string, epochMs: number | undefined): string =>
  epochMs !== undefined && Date.parse(time) > epochMs ? rfc3339(epochMs) : time;

/** As Go writes a time of whole seconds. */
const rfc3339 = (ms: number): string => new Date(ms).toISOString().replace('.000Z', 'Z');
