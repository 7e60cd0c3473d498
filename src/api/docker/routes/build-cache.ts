import * as T from 'typebox';
import { cacheQuestion } from '../../../engine/index.ts';
import { TareError } from '../../../errors/index.ts';
import { json } from '../responses.ts';
import { route } from '../routing.ts';
import { parseAnyFilters } from '../schema/filters.ts';

const size = T.Optional(T.String());

export const buildCacheRoutes = [
  route({
    method: 'POST',
    path: '/build/prune',
    query: T.Object({
      all: T.Boolean(),
      filters: T.String(),
      'keep-storage': size,
      'reserved-space': size,
      'max-used-space': size,
      'min-free-space': size,
    }),
    async handler({ engine, query, version }) {
      const question = cacheQuestion(parseAnyFilters(query.filters), Date.now());
      const kept = bytesOf('keep-storage', query['keep-storage']);
      const sizes =
        version < 48
          ? { reservedSpaceBytes: kept }
          : {
              reservedSpaceBytes: bytesOf('reserved-space', query['reserved-space']) || kept,
              maxUsedSpaceBytes: bytesOf('max-used-space', query['max-used-space']),
              minFreeSpaceBytes: bytesOf('min-free-space', query['min-free-space']),
            };
      const deleted: string[] = [];
      let reclaimed = 0;
      if (question !== 'nothing') {
        for await (const usage of engine.builds.prune({ ...question, ...sizes, all: query.all })) {
          deleted.push(usage.id);
          if (!usage.isShared) reclaimed += usage.sizeBytes;
        }
      }
      return json({ CachesDeleted: deleted.length === 0 ? null : deleted, SpaceReclaimed: reclaimed });
    },
  }),
];

/** 0: it was not given. */
function bytesOf(name: string, text = ''): number {
  if (text === '') return 0;
  const bytes = /^\+?\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new TareError('InvalidArgument', `${name} is in bytes and expects an integer, got ${text}`);
}
