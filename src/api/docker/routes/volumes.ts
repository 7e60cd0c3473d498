import * as T from 'typebox';
import { volumeOf } from '../from-engine/volume.ts';
import { bytes, empty, json } from '../responses.ts';
import { route } from '../routing.ts';
import { parseFilters } from '../schema/filters.ts';
import { volumeCreateBody } from '../schema/network.ts';
import { begin } from '../stream/begin.ts';

export const volumeRoutes = [
  // Docker's API has no way to a volume's files but a container.
  route({
    method: 'GET',
    path: '/tare/volumes/:id/archive',
    async handler({ engine, params }) {
      return bytes(await begin(engine.volumes.export(params.id)), 'application/x-tar');
    },
  }),

  route({
    method: 'PUT',
    path: '/tare/volumes/:id/archive',
    async handler({ engine, params, request }) {
      await engine.volumes.import(params.id, request.body);
      return empty(204);
    },
  }),

  route({
    method: 'GET',
    path: '/volumes',
    query: T.Object({ filters: T.String() }),
    async handler({ engine, query }) {
      const filters = parseFilters(query.filters, ['dangling', 'name', 'driver', 'label', 'label!']);
      return json({ Volumes: (await engine.volumes.list(filters)).map(volumeOf), Warnings: null });
    },
  }),

  route({
    method: 'POST',
    path: '/volumes/create',
    body: volumeCreateBody,
    async handler({ engine, body }) {
      const volume = await engine.volumes.create({
        name: body?.Name || undefined,
        driver: body?.Driver || undefined,
        options: body?.DriverOpts,
        labels: body?.Labels,
      });
      return json(volumeOf(volume), 201);
    },
  }),

  route({
    method: 'POST',
    path: '/volumes/prune',
    query: T.Object({ filters: T.String() }),
    async handler({ engine, query, version }) {
      const filters = parseFilters(query.filters, ['label', 'label!', 'all']);
      // Before API 1.42 prune meant named volumes too.
      if (version < 42) filters.all = ['true'];
      const report = await engine.volumes.prune(filters);
      return json({ VolumesDeleted: report.deleted, SpaceReclaimed: report.spaceReclaimedBytes });
    },
  }),

  route({
    method: 'GET',
    path: '/volumes/:name*',
    async handler({ engine, params }) {
      return json(volumeOf(await engine.volumes.inspect(params.name)));
    },
  }),

  route({
    method: 'DELETE',
    path: '/volumes/:name*',
    query: T.Object({ force: T.Boolean() }),
    async handler({ engine, params, query }) {
      await engine.volumes.remove(params.name, query);
      return empty(204);
    },
  }),
];
