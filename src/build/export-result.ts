import { TareError } from '../errors/index.ts';
import { hostPlatform } from '../image/index.ts';
import { type BridgeContext, shownAs } from './bridge.ts';
import type { CacheStore } from './cache/store.ts';
import type { ExportedPart, ExportSource } from './exporter.ts';
import { exporterFor } from './exporters/exporter-for.ts';
import type { BridgeRef, FrontendResult } from './frontend.ts';
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

/** Makes what is left to be made of a result, and hands it to the exporters, one after the other. */
export async function exportResult(
  cache: CacheStore,
  context: BridgeContext,
  result: FrontendResult,
): Promise<Record<string, string>> {
  const { parts, graph, request } = context;
  const source: ExportSource = {
    parts: await partsOf(result),
    isMultiPlatform: result.refs.size > 0 && result.ref === undefined,
    metadata: result.metadata,
    layerFacts: (layer) => cache.facts(layer),
  };
  const response: Record<string, string> = {};
  for (const [position, { type, attributes }] of request.exporters.entries()) {
    graph.signal.throwIfAborted();
    const exporter = exporterFor(parts, type);
    const told = await shownAs(graph, titles[type] ?? `exporting to ${type}`, ({ progress, signal }) =>
      exporter(source, { exporterID: String(position), attributes, session: request.session, progress, signal }),
    );
    Object.assign(response, told);
  }
  return response;
}

/** One for each platform, their trees made side by side. */
async function partsOf({ ref, refs, metadata, attestations }: FrontendResult): Promise<ExportedPart[]> {
  const platforms = readPlatforms(metadata);
  const named = new Map<string, BridgeRef | undefined>(refs);
  const [first] = platforms.keys();
  if (named.size === 0) named.set(first ?? '', ref);
  return await Promise.all(
    [...named].map(async ([id, one]): Promise<ExportedPart> => {
      const config = metadata.get(`containerimage.config/${id}`) ?? metadata.get('containerimage.config');
      const platform = platforms.get(id) ?? platformOfConfig(config);
      return {
        platformID: id || [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/'),
        platform,
        tree: (await one?.tree()) ?? emptyTree,
        ...(config === undefined ? {} : { config }),
        attestations: attestations.get(id) ?? [],
      };
    }),
  );
}

function readPlatforms(metadata: ReadonlyMap<string, Uint8Array>): Map<string, ExportedPart['platform']> {
  const document = metadata.get('refs.platforms');
  if (document === undefined) return new Map();
  const { Platforms: platforms = [] } = parse<PlatformsDocument>(document, 'refs.platforms');
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
  const { os, architecture, variant } = parse<{ os?: string; architecture?: string; variant?: string }>(
    config,
    'containerimage.config',
  );
  return { os: os || own.os, architecture: architecture || own.architecture, ...(variant ? { variant } : {}) };
}

function parse<T>(bytes: Uint8Array, key: string): T {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as T;
  } catch (error) {
    throw new TareError('InvalidArgument', `the frontend's ${key} is no JSON`, { cause: error });
  }
}
