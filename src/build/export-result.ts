import { TareError } from '../errors/index.ts';
import { hostPlatform, parseGoBoolean } from '../image/index.ts';
import type { LayerName } from '../storage/index.ts';
import type { Attester } from './attestations/attested.ts';
import { type BridgeContext, SolvedRef, shownAs } from './bridge.ts';
import type { BuildRequest, BuildResult, ResultProvenance } from './build-types.ts';
import type { CacheKey } from './cache/key.ts';
import type { CarriedRecord, CarriedResult } from './cache/remote/carried.ts';
import { carriedRecords } from './cache/remote/carried-graph.ts';
import {
  type CacheExport,
  cacheTitles,
  exportCache,
  inlineCacheOf,
  readCacheExport,
} from './cache/remote/export-cache.ts';
import type { CacheStore } from './cache/store.ts';
import type { ExportedPart, ExportSource } from './exporter.ts';
import { exporterFor } from './exporters/exporter-for.ts';
import type { BridgeRef, FrontendResult } from './frontend.ts';
import { frontendDocument } from './frontend-document.ts';
import { emptyTree } from './tree.ts';

/** What frontends say of the platforms of their result (`refs.platforms`). */
interface PlatformsDocument {
  Platforms?: {
    ID: string;
    Platform: { architecture?: string; os?: string; variant?: string; 'os.version'?: string };
  }[];
}

/** What the client sees while it is exported. */
const titles: Record<string, string> = {
  image: 'exporting to image',
  moby: 'exporting to image',
  oci: 'exporting to oci image format',
  docker: 'exporting to docker image format',
  local: 'exporting to client directory',
  tar: 'exporting to client tarball',
};

/** The build argument that asks for a cache inside of the image. */
const INLINE_ARGUMENT = 'build-arg:BUILDKIT_INLINE_CACHE';

/**
 * Caches that a build is to write, their options checked.
 * @throws {TareError} InvalidArgument, Unsupported
 */
export function readCacheExports({ cacheExports, frontendOptions = {} }: BuildRequest): readonly CacheExport[] {
  const asked = cacheExports.map(readCacheExport);
  const isAsked = parseGoBoolean(frontendOptions[INLINE_ARGUMENT] ?? '') === true;
  if (!isAsked || asked.some(({ type }) => type === 'inline')) return asked;
  return [...asked, readCacheExport({ type: 'inline', attributes: {} })];
}

/** Makes what is left to be made of a result, and hands it to the exporters, one after the other; then to caches elsewhere. */
export async function exportResult(
  cache: CacheStore,
  context: BridgeContext,
  attester: Attester,
  result: FrontendResult,
  cacheExports: readonly CacheExport[],
): Promise<Pick<BuildResult, 'exporterResponse' | 'provenance' | 'isMultiPlatform'>> {
  const { parts, graph, request } = context;
  const made = await partsOf(attester, result);
  const exported = made.map(({ part }) => part);
  const recordsFor = recordsOf(context, result, exported);
  const inline = cacheExports.find(({ type }) => type === 'inline');
  const isMultiPlatform = result.refs.size > 0 && result.ref === undefined;
  const source: ExportSource = {
    parts: exported,
    isMultiPlatform,
    metadata: result.metadata,
    layerFacts: (layer) => cache.facts(layer),
    ...(inline && {
      inlineCache: async (layers) =>
        await shownAs(graph, cacheTitles.inline, async () =>
          inlineCacheOf(parts, await recordsFor(inline.mode))(layers),
        ),
    }),
  };
  const exporterResponse: Record<string, string> = {};
  const epoch = request.frontendOptions?.['build-arg:SOURCE_DATE_EPOCH'];
  for (const [position, { type, attributes: given }] of request.exporters.entries()) {
    graph.signal.throwIfAborted();
    const attributes = { ...(epoch === undefined ? {} : { 'source-date-epoch': epoch }), ...given };
    const exporter = exporterFor(parts, type);
    const told = await shownAs(graph, titles[type] ?? `exporting to ${type}`, ({ progress, signal }) =>
      exporter(source, { exporterID: String(position), attributes, session: request.session, progress, signal }),
    );
    Object.assign(exporterResponse, told);
  }
  for (const [position, one] of cacheExports.entries()) {
    if (one.type === 'inline') continue;
    const told = await exportOneCache(one);
    Object.assign(exporterResponse, told);
    // The well-known key tells of one alone.
    const manifest = told['cache.manifest'];
    if (cacheExports.length > 1 && manifest !== undefined) exporterResponse[`cache.manifest/${position}`] = manifest;
  }
  const provenance = new Map(made.map((one) => [one.part.platformID, one.provenance]));
  return { exporterResponse, provenance, isMultiPlatform };

  async function exportOneCache(one: CacheExport): Promise<Readonly<Record<string, string>>> {
    try {
      return await shownAs(graph, cacheTitles[one.type], async ({ progress, signal }) => {
        const client = { session: request.session, progress, signal };
        return await exportCache(parts, one, await recordsFor(one.mode), client, (layer) => cache.facts(layer));
      });
    } catch (error) {
      if (!one.isForgiven || graph.signal.aborted) throw error;
      // The client has seen it at its vertex.
      return {};
    }
  }
}

/** The records that a cache elsewhere gets, by its mode; each made once. */
function recordsOf({ parts, graph }: BridgeContext, result: FrontendResult, exported: readonly ExportedPart[]) {
  const made = new Map<CacheExport['mode'], Promise<CarriedRecord<CarriedResult>[]>>();
  const make = async (mode: CacheExport['mode']) => {
    const refs = [result.ref, ...result.refs.values()].filter((ref) => ref instanceof SolvedRef);
    const keys = await Promise.all(refs.map(({ edge }) => edge && graph.key(edge)));
    const names = new Set<string>(exported.flatMap(({ tree }) => tree.layers));
    for (const name of [...names]) names.add(parts.layers.diffIDOf(name as LayerName) ?? name);
    const isInResult = (found: CarriedResult) =>
      'cache' in found
        ? found.layers.every(({ diffID }) => names.has(diffID))
        : found.layers.every((name) => names.has(name));
    const isWanted = mode === 'max' ? () => true : isInResult;
    const known = keys.filter((key): key is CacheKey => key !== undefined);
    return carriedRecords(known, await graph.sources(), isWanted);
  };
  return (mode: CacheExport['mode']) => {
    const records = made.get(mode) ?? make(mode);
    made.set(mode, records);
    return records;
  };
}

/** One for each platform, in the frontend's order; their trees are made side by side. */
async function partsOf(
  attester: Attester,
  result: FrontendResult,
): Promise<{ part: ExportedPart; provenance: ResultProvenance }[]> {
  const results = resultsOf(result);
  const trees = await Promise.all(results.map(async ({ ref }) => (await ref?.tree()) ?? emptyTree));
  const attested = await attester.say(result, results);
  return results.map(({ platformID, platform, config }, position) => {
    const { attestations, provenance } = attested[position]!;
    const own = { platformID, platform, tree: trees[position]!, attestations };
    return { part: { ...own, ...(config === undefined ? {} : { config }) }, provenance };
  });
}

interface PlatformResult extends Pick<ExportedPart, 'platformID' | 'platform'> {
  ref: BridgeRef | undefined;
  config: Uint8Array | undefined;
}

function resultsOf({ ref, refs, metadata }: FrontendResult): PlatformResult[] {
  const platforms = readPlatforms(metadata);
  const named = new Map<string, BridgeRef | undefined>(refs);
  if (named.size === 0) named.set([...platforms.keys()][0] ?? '', ref);
  const order = [...platforms.keys()];
  const sorted = [...named].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  return sorted.map(([id, one]) => {
    const config = metadata.get(`containerimage.config/${id}`) ?? metadata.get('containerimage.config');
    const platform = platforms.get(id) ?? platformOfConfig(config);
    const platformID = id || [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
    // Folders and documents are called by it, also at the client.
    if (!isPlatformID(platformID)) {
      const text = JSON.stringify(platformID.slice(0, 100));
      throw new TareError(
        'InvalidArgument',
        `the frontend's result has a platform ${text}: want one such as linux/amd64`,
      );
    }
    return { platformID, platform, ref: one, config };
  });
}

const isPlatformID = (text: string): boolean => /^(?!\.{1,2}$)[^\0-\x1f]{1,200}$/.test(text);

function readPlatforms(metadata: ReadonlyMap<string, Uint8Array>): Map<string, ExportedPart['platform']> {
  const document = metadata.get('refs.platforms');
  if (document === undefined) return new Map();
  const platforms = frontendDocument<PlatformsDocument | null>(document, 'refs.platforms')?.Platforms ?? [];
  if (!Array.isArray(platforms) || !platforms.every((one) => typeof one?.ID === 'string' && isObject(one.Platform)))
    throw new TareError('InvalidArgument', "the frontend's refs.platforms is no list of platforms");
  return new Map(
    platforms.map(({ ID, Platform: { os = 'linux', architecture = '', variant, ...rest } }) => [
      ID,
      {
        ...{ os, architecture },
        ...(variant ? { variant } : {}),
        ...(rest['os.version'] ? { osVersion: rest['os.version'] } : {}),
      },
    ]),
  );
}

function platformOfConfig(config: Uint8Array | undefined): ExportedPart['platform'] {
  const own = hostPlatform();
  if (config === undefined) return { os: own.os, architecture: own.architecture };
  const said = frontendDocument<{ os?: string; architecture?: string; variant?: string } | null>(
    config,
    'containerimage.config',
  );
  const { os, architecture, variant } = said ?? {};
  return { os: os || own.os, architecture: architecture || own.architecture, ...(variant ? { variant } : {}) };
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null;
