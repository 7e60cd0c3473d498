import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { networkOf } from '../from-engine/network.ts';
import { empty, json } from '../responses.ts';
import { route } from '../routing.ts';
import { parseFilters } from '../schema/filters.ts';
import { connectBody, disconnectBody, networkCreateBody } from '../schema/network.ts';
import { toCreateNetwork } from '../to-engine/network.ts';
import { toEndpoint } from '../to-engine/networking.ts';

const listFilters = ['dangling', 'driver', 'id', 'label', 'label!', 'name', 'scope', 'type'];

const list = {
  method: 'GET',
  query: T.Object({ filters: T.String() }),
} as const;

export const networkRoutes = [
  ...['/networks', '/networks/'].map((path) =>
    route({
      ...list,
      path,
      async handler({ engine, query, version }) {
        const networks = await engine.networks.list(parseFilters(query.filters, listFilters));
        return json(networks.map((network) => networkOf(network, version, version < 28)));
      },
    }),
  ),

  route({
    method: 'POST',
    path: '/networks/create',
    body: networkCreateBody,
    async handler({ engine, body, version }) {
      const { id, warnings } = await engine.networks.create(toCreateNetwork(body, version));
      return json({ Id: id, Warning: warnings.join('\n') }, 201);
    },
  }),

  route({
    method: 'POST',
    path: '/networks/prune',
    query: T.Object({ filters: T.String() }),
    async handler({ engine, query }) {
      const report = await engine.networks.prune(parseFilters(query.filters, ['until', 'label', 'label!']));
      return json({ NetworksDeleted: report.deleted });
    },
  }),

  route({
    method: 'GET',
    path: '/networks/:id',
    query: T.Object({ scope: T.String(), verbose: T.String() }),
    async handler({ engine, params, query, version }) {
      // More would be told of services alone.
      if (!/^(|[01tTfF]|true|false|True|False|TRUE|FALSE)$/.test(query.verbose)) {
        throw new TareError('InvalidArgument', `invalid value for verbose: ${query.verbose}: want true or false`);
      }
      if (query.scope !== '' && query.scope !== 'local') {
        throw new TareError('NotFound', `network ${params.id} not found`);
      }
      return json(networkOf(await engine.networks.inspect(params.id), version, true));
    },
  }),

  route({
    method: 'DELETE',
    path: '/networks/:id',
    async handler({ engine, params }) {
      await engine.networks.remove(params.id);
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/networks/:id/connect',
    body: connectBody,
    async handler({ engine, params, body }) {
      if (!body?.Container) throw new TareError('InvalidArgument', 'no container named: Container must not be empty');
      await engine.networks.connect(params.id, body.Container, toEndpoint(body.EndpointConfig));
      return empty(200);
    },
  }),

  route({
    method: 'POST',
    path: '/networks/:id/disconnect',
    body: disconnectBody,
    async handler({ engine, params, body }) {
      if (!body?.Container) throw new TareError('InvalidArgument', 'no container named: Container must not be empty');
      await engine.networks.disconnect(params.id, body.Container, body.Force);
      return empty(200);
    },
  }),
];
