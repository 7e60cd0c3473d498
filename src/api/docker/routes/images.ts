import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { historyOf, imageInspectOf, imageSummaryOf, progressOf, removedOf } from '../from-engine/image.ts';
import { bytes, empty, json, lines } from '../responses.ts';
import { route } from '../routing.ts';
import { parseFilters } from '../schema/filters.ts';
import { begin } from '../stream/begin.ts';

const listFilters = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'];

export const imageRoutes = [
  route({
    method: 'GET',
    path: '/images/json',
    query: T.Object({ all: T.Boolean(), filters: T.String(), filter: T.String(), 'shared-size': T.Boolean() }),
    async handler({ engine, query, version }) {
      const filters = parseFilters(query.filters, listFilters);
      // Clients of before API 1.28 name the repository this way.
      if (query.filter !== '') filters.reference = [...(filters.reference ?? []), query.filter];
      const images = await engine.images.list({ all: query.all, filters, sharedSize: query['shared-size'] });
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
    }),
    async handler({ engine, query, request }) {
      if (query.fromImage !== '') throw noRegistry(withTag(query.fromImage, query.tag));
      if (query.fromSrc !== '-') {
        throw new TareError(
          'Unsupported',
          `import from "${query.fromSrc}" is not supported; send the archive (fromSrc=-)`,
        );
      }
      const id = await engine.images.import(request.body, {
        reference: query.repo === '' ? undefined : withTag(query.repo, query.tag),
        message: query.message || undefined,
        changes: query.changes.flatMap((text) => text.split('\n')).filter((line) => line.trim() !== ''),
        platform: query.platform || undefined,
      });
      return json({ status: id });
    },
  }),

  route({
    method: 'POST',
    path: '/images/load',
    query: T.Object({ quiet: T.Boolean(), platform: T.Optional(T.String()) }),
    async handler({ engine, query, request }) {
      const progress = engine.images.load(request.body, {
        quiet: query.quiet,
        platform: platformOf(query.platform),
      });
      return lines(mapped(await begin(progress), progressOf));
    },
  }),

  route({
    method: 'GET',
    path: '/images/get',
    query: T.Object({ names: T.Array(T.String()), platform: T.Optional(T.String()) }),
    async handler({ engine, query }) {
      const names = query.names.flatMap((list) => list.split(',')).filter(Boolean);
      if (names.length === 0) throw new TareError('InvalidArgument', 'no image named: give names=REFERENCE');
      const tar = engine.images.save(names, { platform: platformOf(query.platform) });
      return bytes(await begin(tar), 'application/x-tar');
    },
  }),

  route({
    method: 'GET',
    path: '/images/search',
    async handler() {
      throw new TareError('Unsupported', 'search: registries are not part of this engine yet');
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
    async handler({ engine, params, version }) {
      return json(imageInspectOf(await engine.images.inspect(params.name), version));
    },
  }),

  route({
    method: 'GET',
    path: '/images/:name*/history',
    async handler({ engine, params }) {
      return json((await engine.images.history(params.name)).map(historyOf));
    },
  }),

  route({
    method: 'GET',
    path: '/images/:name*/get',
    query: T.Object({ platform: T.Optional(T.String()) }),
    async handler({ engine, params, query }) {
      const tar = engine.images.save([params.name], { platform: platformOf(query.platform) });
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
    method: 'POST',
    path: '/images/:name*/push',
    async handler({ params }) {
      throw new TareError('Unsupported', `cannot push ${params.name}: registries are not part of this engine yet`);
    },
  }),

  route({
    method: 'DELETE',
    path: '/images/:name*',
    query: T.Object({ force: T.Boolean(), noprune: T.Boolean(), platforms: T.Array(T.String()) }),
    async handler({ engine, params, query }) {
      if (query.platforms.length > 0) {
        throw new TareError('Unsupported', 'an image here is of one platform: remove it without naming platforms');
      }
      const removed = await engine.images.remove(params.name, { force: query.force, noPrune: query.noprune });
      return json(removed.map(removedOf));
    },
  }),
];

/** NotFound, for docker's client treats it as "the registry does not have it" and prints the text. */
function noRegistry(reference: string): TareError {
  return new TareError(
    'NotFound',
    `cannot pull ${reference}: pulling from registries is not part of this engine yet; load or import the image`,
  );
}

/** @param tag a tag, a digest, or '' */
function withTag(name: string, tag: string): string {
  if (tag === '') return name;
  return tag.includes(':') ? `${name}@${tag}` : `${name}:${tag}`;
}

/**
 * Clients send a platform as `os/arch[/variant]` or (since API 1.48) as an OCI platform in JSON.
 *
 * @throws {TareError} InvalidArgument: JSON without os and architecture
 */
function platformOf(text: string | undefined): string | undefined {
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

async function* mapped<A, B>(source: AsyncIterable<A>, to: (item: A) => B): AsyncGenerator<B> {
  for await (const item of source) yield to(item);
}
