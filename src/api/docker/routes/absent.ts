import { TareError } from '../../../errors/index.ts';
import { json } from '../responses.ts';
import { type Route, route } from '../routing.ts';

const notManager =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';

type Method = Parameters<typeof route>[0]['method'];

/** Each of these answers as an engine that is no member of a swarm. */
const swarm: [Method, string][] = [
  ['GET', '/swarm'],
  ['GET', '/swarm/unlockkey'],
  ['POST', '/swarm/update'],
  ['POST', '/swarm/unlock'],
  ...['nodes', 'services', 'tasks', 'secrets', 'configs'].flatMap((area): [Method, string][] => [
    ['GET', `/${area}`],
    ['GET', `/${area}/:id`],
    ['GET', `/${area}/:id/logs`],
    ['POST', `/${area}/create`],
    ['POST', `/${area}/:id/update`],
    ['DELETE', `/${area}/:id`],
  ]),
];

const unsupported: [Method, string, string][] = [
  ['POST', '/swarm/init', 'swarm mode is not part of this engine'],
  ['POST', '/swarm/join', 'swarm mode is not part of this engine'],
  ['GET', '/plugins/privileges', 'plugins are not part of this engine'],
  ['POST', '/plugins/pull', 'plugins are not part of this engine'],
  ['POST', '/plugins/create', 'plugins are not part of this engine'],
];

const ofPlugin: [Method, string][] = [
  ['GET', '/plugins/:name*/json'],
  ['DELETE', '/plugins/:name*'],
  ...['enable', 'disable', 'upgrade', 'push', 'set'].map((verb): [Method, string] => [
    'POST',
    `/plugins/:name*/${verb}`,
  ]),
];

/** What docker's engine has and this one has not: each says so, in the words that clients know. */
export const absentRoutes: Route[] = [
  ...swarm.map(([method, path]) => refuse(method, path, 'Unavailable', notManager)),
  refuse('POST', '/swarm/leave', 'Unavailable', 'This node is not part of a swarm'),
  ...unsupported.map(([method, path, reason]) => refuse(method, path, 'Unsupported', reason)),

  refuse(
    'PUT',
    '/volumes/:name*',
    'Unavailable',
    'volume update only valid for cluster volumes, but swarm is unavailable',
  ),
  ...ofPlugin.map(([method, path]) =>
    route({
      method,
      path,
      async handler({ params }) {
        throw new TareError('NotFound', `plugin "${params.name}" not found`);
      },
    }),
  ),

  route({
    method: 'GET',
    path: '/plugins',
    async handler() {
      return json([]);
    },
  }),
];

function refuse(method: Method, path: string, kind: 'Unavailable' | 'Unsupported', reason: string): Route {
  return route({
    method,
    path,
    async handler() {
      throw new TareError(kind, reason);
    },
  });
}
