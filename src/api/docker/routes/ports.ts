import * as T from 'typebox';
import { TareError } from '../../../errors/index.ts';
import { json } from '../responses.ts';
import { route } from '../routing.ts';
import { portsBody } from '../schema/ports.ts';
import { toPortBindings } from '../to-engine/host-config.ts';
import { toPort, toPortSelections } from '../to-engine/ports.ts';

/** Routes that Docker's API has not: ports of a container while it runs. */
export const portRoutes = [
  route({
    method: 'POST',
    path: '/tare/containers/:id/ports',
    body: portsBody,
    async handler({ engine, params, body }) {
      if (body === undefined) throw new TareError('InvalidArgument', 'no ports named: PortBindings must not be empty');
      const mappings = await engine.containers.addPorts(params.id, toPortBindings(body.PortBindings));
      return json({
        Ports: mappings.map(({ hostIp, hostPort, containerPort, protocol }) => ({
          IP: hostIp,
          PrivatePort: containerPort,
          PublicPort: hostPort,
          Type: protocol,
        })),
      });
    },
  }),

  route({
    method: 'DELETE',
    path: '/tare/containers/:id/ports',
    body: portsBody,
    async handler({ engine, params, body }) {
      if (body === undefined) throw new TareError('InvalidArgument', 'no ports named: PortBindings must not be empty');
      await engine.containers.removePorts(params.id, toPortSelections(body.PortBindings));
      return json({});
    },
  }),

  route({
    method: 'GET',
    path: '/tare/containers/:id/reach',
    query: T.Object({ port: T.String() }),
    async handler({ engine, params, query }) {
      const { port, protocol } = toPort(query.port);
      const report = await engine.containers.portReach(params.id, port, protocol);
      return json({
        Container: report.container,
        Port: report.port,
        Reach: report.reach.map(({ who, isReachable, by, rule }) => ({
          ...{ Who: who, Reachable: isReachable, By: by, Rule: rule },
        })),
        Notes: report.notes,
      });
    },
  }),
];
