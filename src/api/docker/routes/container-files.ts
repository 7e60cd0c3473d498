import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { pathStatHeader } from '../from-engine/path-stat.ts';
import { bytes, empty } from '../responses.ts';
import { route } from '../routing.ts';

const STAT_HEADER = 'x-docker-container-path-stat';

export const containerFileRoutes = [
  route({
    method: 'HEAD',
    path: '/containers/:id/archive',
    query: T.Object({ path: T.String() }),
    async handler({ engine, params, query }) {
      const stat = await engine.containers.statPath(params.id, required(query.path));
      return { status: 200, headers: { [STAT_HEADER]: pathStatHeader(stat) } };
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/archive',
    query: T.Object({ path: T.String() }),
    async handler({ engine, params, query }) {
      const { stat, tar } = await engine.containers.readArchive(params.id, required(query.path));
      return bytes(tar, 'application/x-tar', { [STAT_HEADER]: pathStatHeader(stat) });
    },
  }),

  route({
    method: 'PUT',
    path: '/containers/:id/archive',
    takesBulk: true,
    query: T.Object({ path: T.String(), noOverwriteDirNonDir: T.Boolean(), copyUIDGID: T.Boolean() }),
    async handler({ engine, params, query, request }) {
      await engine.containers.writeArchive(params.id, required(query.path), request.body, {
        noOverwriteDirNonDir: query.noOverwriteDirNonDir,
        copyUidGid: query.copyUIDGID,
      });
      return empty(200);
    },
  }),
];

function required(path: string): string {
  if (path === '') throw new TareError('InvalidArgument', 'bad parameter: path must not be empty');
  return path;
}
