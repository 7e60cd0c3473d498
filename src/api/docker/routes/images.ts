import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { historyOf, imageInspectOf, imageSummaryOf, progressOf, removedOf } from '../from-engine/image.ts';
import type { ApiResponse } from '../messages.ts';
import { bytes, empty, json, lines } from '../responses.ts';
import { type Call, route } from '../routing.ts';
import { parseFilters } from '../schema/filters.ts';
import { registryAuth } from '../schema/registry-auth.ts';
import { begin } from '../stream/begin.ts';

const listFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'];

export const imageRoutes = [
  route({
    method: 'GET',
    path: '/images/json',
    query: T.Object({
      all: T.Boolean(),
      filters: T.String(),
      filter: T.String(),
      'shared-size': T.Boolean(),
      manifests: T.Boolean(),
    }),
    async handler({ engine, query, version }) {
      const filters = parseFilters(query.filters, listFilters);
      // Clients of before API 1.28 name the repository this way; it went with 1.41.
      if (query.filter !== '' && version < 41) filters.reference = [...(filters.reference ?? []), query.filter];
      const images = await engine.images.list({
        ...{ all: query.all, filters, sharedSize: version >= 42 && query['shared-size'] },
        manifests: version >= 47 && query.manifests,
      });
      return json(images.map((image) => imageSummaryOf(image, version)));
    },
  }),

  route({
    method: 'POST',
    path: '/images/create',
    query: T.Object({
      fromImage: T.String(),
      fromSrc: T.String(),
      repo: T.String(),
      tag: T.String(),
      message: T.String(),
      changes: T.Array(T.String()),
      platform: T.Optional(T.String()),
      // Ours: keep the image for every platform that its index lists.
      allPlatforms: T.Boolean(),
    }),
    async handler({ engine, query, request }) {
      if (query.fromImage !== '') return await pull(engine, query, request);
      if (query.fromSrc === '')
        throw new TareError('InvalidArgument', 'nothing to pull or import: give fromImage or fromSrc');
      const options = {
        reference: query.repo === '' ? undefined : withTag(query.repo, query.tag),
        message: query.message || undefined,
        changes: query.changes.flatMap((text) => text.split('\n')).filter((line) => line.trim() !== ''),
        platform: platformOf(query.platform),
      };
      if (query.fromSrc === '-') return json({ status: await engine.images.import(request.body, options) });
      const progress = engine.images.importFrom(query.fromSrc, { ...options, signal: request.signal });
      return lines(mapped(await begin(progress), progressOf));
    },
  }),

  route({
    method: 'POST',
    path: '/images/load',
    query: T.Object({ quiet: T.Boolean({ default: true }), platform: T.Optional(T.String()) }),
    async handler({ engine, query, request, version }) {
      const progress = engine.images.load(request.body, {
        quiet: query.quiet,
        platform: version >= 48 ? platformOf(query.platform) : undefined,
      });
      return lines(mapped(await begin(progress), progressOf));
    },
  }),

  route({
    method: 'GET',
    path: '/images/get',
    query: T.Object({ names: T.Array(T.String()), platform: T.Optional(T.String()) }),
    async handler({ engine, query, version }) {
      const names = query.names.flatMap((list) => list.split(',')).filter(Boolean);
      if (names.length === 0) throw new TareError('InvalidArgument', 'no image named: give names=REFERENCE');
      const tar = engine.images.save(names, { platform: version >= 48 ? platformOf(query.platform) : undefined });
      return bytes(await begin(tar), 'application/x-tar');
    },
  }),

  route({
    method: 'POST',
    path: '/images/prune',
    query: T.Object({ filters: T.String() }),
    async handler({ engine, query }) {
      const filters = parseFilters(query.filters, ['dangling', 'until', 'label', 'label!']);
      const { removed, spaceReclaimedBytes } = await engine.images.prune(filters);
      return json({
        ImagesDeleted: removed.length > 0 ? removed.map(removedOf) : null,
        SpaceReclaimed: spaceReclaimedBytes,
      });
    },
  }),

  route({
    method: 'GET',
    path: '/images/:name*/json',
    query: T.Object({ manifests: T.Boolean(), platform: T.Optional(T.String()) }),
    async handler({ engine, params, query, request, version }) {
      const platform = version >= 49 ? platformOf(query.platform) : undefined;
      if (platform !== undefined && query.manifests) {
        throw new TareError(
          'InvalidArgument',
          'conflicting options: manifests and platform options cannot both be set',
        );
      }
      const image = await engine.images.inspect(params.name, { platform, manifests: version >= 48 && query.manifests });
      const isOfPlatform = platform !== undefined;
      return json(imageInspectOf(image, { version, isOfPlatform, userAgent: request.headers['user-agent'] }));
    },
  }),

  route({
    method: 'GET',
    path: '/images/:name*/history',
    query: T.Object({ platform: T.Optional(T.String()) }),
    async handler({ engine, params, query, version }) {
      const platform = version >= 48 ? platformOf(query.platform) : undefined;
      const history = await engine.images.history(params.name, { platform });
      return json(history.map(historyOf));
    },
  }),

  route({
    method: 'GET',
    path: '/images/:name*/get',
    query: T.Object({ platform: T.Optional(T.String()) }),
    async handler({ engine, params, query, version }) {
      const platform = version >= 48 ? platformOf(query.platform) : undefined;
      const tar = engine.images.save([params.name], { platform });
      return bytes(await begin(tar), 'application/x-tar');
    },
  }),

  route({
    method: 'POST',
    path: '/images/:name*/tag',
    query: T.Object({ repo: T.String(), tag: T.String() }),
    async handler({ engine, params, query }) {
      await engine.images.tag(params.name, withTag(query.repo, query.tag));
      return empty(201);
    },
  }),

  route({
    method: 'DELETE',
    path: '/images/:name*',
    query: T.Object({ force: T.Boolean(), noprune: T.Boolean(), platforms: T.Array(T.String()) }),
    async handler({ engine, params, query, version }) {
      const removed = await engine.images.remove(params.name, {
        ...{ force: query.force, noPrune: query.noprune },
        platforms: (version >= 50 ? query.platforms : []).flatMap((platform) => platformOf(platform) ?? []),
      });
      return json(removed.map(removedOf));
    },
  }),
];

/** Answers with a status what fails before the registry offered an image, as docker does. */
async function pull(
  engine: Call['engine'],
  query: { fromImage: string; tag: string; platform?: string; allPlatforms: boolean },
  request: Call['request'],
): Promise<ApiResponse> {
  // `docker pull -a` may send a name with a colon at its end.
  const name = query.fromImage.replace(/:$/, '');
  if (name === 'scratch') throw new TareError('Forbidden', "'scratch' is a reserved name");
  const progress = engine.images.pull(withTag(name, query.tag), {
    credentials: registryAuth(request.headers['x-registry-auth']),
    platform: platformOf(query.platform),
    allPlatforms: query.allPlatforms,
    allTags: query.tag === '' && !/[:@][^/]*$/.test(name),
    signal: request.signal,
  });
  return lines(mapped(await begin(progress), progressOf));
}

/** @param tag a tag, a digest, or '' */
export function withTag(name: string, tag: string): string {
  if (tag === '') return name;
  return tag.includes(':') ? `${name}@${tag}` : `${name}:${tag}`;
}

/**
 * Clients send a platform as `os/arch[/variant]` or (since API 1.48) as an OCI platform in JSON.
 *
 * @throws {TareError} InvalidArgument: JSON without os and architecture
 */
export function platformOf(text: string | undefined): string | undefined {
  if (!text?.startsWith('{')) return text || undefined;
  let platform: { os?: unknown; architecture?: unknown; variant?: unknown };
  try {
    platform = JSON.parse(text);
  } catch {
    platform = {};
  }
  const parts = [platform.os, platform.architecture, platform.variant].filter(
    (part) => part !== undefined && part !== '',
  );
  if (parts.length < 2 || !parts.every((part) => typeof part === 'string')) {
    throw new TareError('InvalidArgument', `failed to parse platform: ${text.slice(0, 200)}`);
  }
  return parts.join('/');
}

export async function* mapped<A, B>(source: AsyncIterable<A>, to: (item: A) => B): AsyncGenerator<B> {
  for await (const item of source) yield to(item);
}
