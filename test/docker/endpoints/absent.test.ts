import { describe, expect, test } from 'vitest';
import { shows } from '../../support/compatibility.ts';
import { withEngine } from '../../support/faces.ts';
import { Caller } from './caller.ts';
import { operations } from './description.ts';

const notManager =
  'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.';
const described = (pattern: RegExp) => [...operations.keys()].filter((operation) => pattern.test(operation));
const swarm = described(/^\w+ \/(swarm|services|tasks|nodes|configs|secrets)/);
const plugins = described(/^\w+ \/plugins/);

describe('what this engine has not', () => {
  const engine = withEngine({ image: false });
  const api = new Caller(() => engine().socket);
  const joins = ['POST /swarm/init', 'POST /swarm/join', 'POST /swarm/leave'];

  test.each(swarm.filter((operation) => !joins.includes(operation)))(
    '%s: no member of a swarm',
    shows({ endpoints: ['* /swarm, /services, /tasks, /nodes, /configs, /secrets'] }),
    async (operation) => {
      const answer = await api.send(operation, { of: 'some' });
      expect({ status: answer.status, body: answer.body }).toEqual({ status: 503, body: { message: notManager } });
    },
  );

  test(
    'a swarm cannot be made, joined or left',
    shows({ endpoints: ['* /swarm, /services, /tasks, /nodes, /configs, /secrets'] }),
    async () => {
      for (const operation of ['POST /swarm/init', 'POST /swarm/join']) {
        expect(await api.send(operation)).toMatchObject({
          status: 501,
          message: 'swarm mode is not part of this engine',
        });
      }
      const left = await api.send('POST /swarm/leave');
      expect(left).toMatchObject({ status: 503, message: 'This node is not part of a swarm' });
    },
  );

  const ofOne = plugins.filter((operation) => operation.includes('{name}'));
  test.each(ofOne)('%s: no such plugin', shows({ endpoints: ['* /plugins'] }), async (operation) => {
    const answer = await api.send(operation, { of: 'vendor/some:latest' });
    expect(answer).toMatchObject({ status: 404, message: 'plugin "vendor/some:latest" not found' });
  });

  test('there are no plugins, and none can be had', shows({ endpoints: ['* /plugins'] }), async () => {
    expect(await api.send('GET /plugins', { query: { filters: { enabled: ['true'] } } })).toMatchObject({
      status: 200,
      body: [],
    });
    for (const operation of plugins.filter((one) => !ofOne.includes(one) && one !== 'GET /plugins')) {
      expect(await api.send(operation)).toMatchObject({ status: 501, message: 'plugins are not part of this engine' });
    }
  });

  test.each(['GET /', 'GET /nope', 'GET /v1.51/nope', 'POST /_ping', 'PUT /containers/json', 'GET /containers'])(
    '%s: page not found',
    async (request) => {
      const answer = await api.send(request);
      expect({ status: answer.status, body: answer.body }).toEqual({
        status: 404,
        body: { message: 'page not found' },
      });
    },
  );
});
