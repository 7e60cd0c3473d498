import * as T from 'typebox';
import { cacheQuestion, type EngineServices } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { cacheUsageOf } from '../from-engine/cache-usage.ts';
import { eventLines } from '../from-engine/event.ts';
import { imageSummaryOf } from '../from-engine/image.ts';
import { infoOf, versionOf } from '../from-engine/system.ts';
import { volumeUsageOf } from '../from-engine/volume.ts';
import { bytes, json, text } from '../responses.ts';
import { type Call, route } from '../routing.ts';
import { parseAnyFilters, parseFilters } from '../schema/filters.ts';
import type { ApiVersion } from '../version.ts';
import { summariesOf } from './containers.ts';

const eventFilters = [
  ...['config', 'container', 'daemon', 'event', 'image', 'label', 'network', 'node', 'plugin', 'scope', 'secret'],
  ...['service', 'type', 'volume'],
];

const pingHeaders = (engine: EngineServices) => ({
  // '1' is the classic builder: a client must not look for BuildKit where none answers.
  'builder-version': engine.builds ? '2' : '1',
  swarm: 'inactive',
  'cache-control': 'no-cache, no-store, must-revalidate',
  pragma: 'no-cache',
});

export const systemRoutes = [
  route({
    method: 'GET',
    path: '/_ping',
    async handler({ engine }) {
      return text('OK', pingHeaders(engine));
    },
  }),

  route({
    method: 'HEAD',
    path: '/_ping',
    async handler({ engine }) {
      const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': '0', ...pingHeaders(engine) };
      return { status: 200, headers };
    },
  }),

  route({
    method: 'GET',
    path: '/version',
    async handler({ engine }) {
      return json(versionOf(await engine.system.version()));
    },
  }),

  route({
    method: 'GET',
    path: '/info',
    async handler({ engine, version }) {
      const [info, { version: serverVersion }] = await Promise.all([engine.system.info(), engine.system.version()]);
      return json(infoOf(info, serverVersion, version));
    },
  }),

  route({
    method: 'POST',
    path: '/tare/reload',
    async handler({ engine }) {
      const { changed, kept } = await engine.system.reload();
      return json({ Changed: changed, Kept: kept });
    },
  }),

  route({
    method: 'GET',
    path: '/events',
    query: T.Object({ since: T.String(), until: T.String(), filters: T.String() }),
    async handler({ engine, query, request }) {
      const { since, until } = query;
      const filters = parseFilters(query.filters, eventFilters);
      const events = engine.events.subscribe({ since, until, filters, signal: request.signal });
      return bytes(eventLines(events), 'application/json');
    },
  }),

  route({
    method: 'GET',
    path: '/system/df',
    query: T.Object({
      type: T.Array(T.String()),
      // Ours: say what removing unused images would free.
      reclaimable: T.Boolean(),
      // Ours: which lines of the build cache.
      filters: T.String(),
    }),
    async handler({ engine, query, version }) {
      const types = version >= 42 ? query.type : [];
      const cacheFilters = cacheQuestion(parseAnyFilters(query.filters), Date.now());
      return json(await diskUsage(engine, types, { tellReclaimable: query.reclaimable, cacheFilters, version }));
    },
  }),
];

async function diskUsage(
  engine: Call['engine'],
  types: readonly string[],
  {
    tellReclaimable,
    cacheFilters,
    version,
  }: { tellReclaimable: boolean; cacheFilters: ReturnType<typeof cacheQuestion>; version: ApiVersion },
) {
  const known = ['container', 'image', 'volume', 'build-cache'];
  const unknown = types.find((type) => !known.includes(type));
  if (unknown !== undefined) throw new TareError('InvalidArgument', `unknown object type: ${unknown}`);
  const wants = (type: string) => types.length === 0 || types.includes(type);
  const isMore = known.some((type) => type !== 'build-cache' && wants(type));
  const [usage, cache] = await Promise.all([
    isMore ? engine.system.diskUsage() : undefined,
    wants('build-cache') && cacheFilters !== 'nothing' ? cacheUsage(engine, cacheFilters) : [],
  ]);
  return {
    ...(usage &&
      wants('image') && {
        LayersSize: usage.imageBytes,
        Images: usage.images.map((image) => imageSummaryOf(image, version)),
        // Clients cannot compute it from the list, which does not say which layers are shared with which.
        ...(tellReclaimable && { ImageUsage: { Reclaimable: usage.reclaimableImageBytes } }),
      }),
    ...(usage && wants('container') && { Containers: await summariesOf(engine, usage.containers, version) }),
    ...(usage && wants('volume') && { Volumes: usage.volumes.map(volumeUsageOf) }),
    ...(wants('build-cache') && {
      BuildCache: cache.map((one) => cacheUsageOf(one, version)),
      ...(version < 42 && { BuilderSize: cache.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) }),
    }),
  };
}

async function cacheUsage(
  engine: Call['engine'],
  { filters, keepDurationMs = 0 }: Exclude<ReturnType<typeof cacheQuestion>, 'nothing'>,
) {
  const until = Date.now() - keepDurationMs;
  const lines = await engine.builds.usage(filters);
  return lines.filter(({ lastUsedMs, createdMs }) => keepDurationMs === 0 || (lastUsedMs ?? createdMs) <= until);
}
