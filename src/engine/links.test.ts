import { expect, test } from 'vitest';
import { linkVariables } from './links.ts';

test.each([
  ['no port', [], [], ['DB_NAME=/web/db']],
  [
    'a port of TCP before one of UDP, and neighbours as a range',
    ['81/tcp', '80/udp', '80/tcp'],
    ['PATH=/bin', 'HOME=/', 'X=1', 'nothing'],
    [
      'DB_PORT=tcp://10.0.0.2:80',
      'DB_PORT_80_TCP_START=tcp://10.0.0.2:80',
      'DB_PORT_80_TCP_ADDR=10.0.0.2',
      'DB_PORT_80_TCP_PROTO=tcp',
      'DB_PORT_80_TCP_PORT_START=80',
      'DB_PORT_80_TCP_END=tcp://10.0.0.2:81',
      'DB_PORT_80_TCP_PORT_END=81',
      'DB_PORT_80_TCP=tcp://10.0.0.2:80',
      'DB_PORT_80_TCP_ADDR=10.0.0.2',
      'DB_PORT_80_TCP_PORT=80',
      'DB_PORT_80_TCP_PROTO=tcp',
      'DB_PORT_80_UDP=udp://10.0.0.2:80',
      'DB_PORT_80_UDP_ADDR=10.0.0.2',
      'DB_PORT_80_UDP_PORT=80',
      'DB_PORT_80_UDP_PROTO=udp',
      'DB_PORT_81_TCP=tcp://10.0.0.2:81',
      'DB_PORT_81_TCP_ADDR=10.0.0.2',
      'DB_PORT_81_TCP_PORT=81',
      'DB_PORT_81_TCP_PROTO=tcp',
      'DB_NAME=/web/db',
      'DB_ENV_X=1',
    ],
  ],
])('variables of a link: %s', (_, exposedPorts, env, want) => {
  expect(linkVariables('/web/db', '10.0.0.2', { exposedPorts, env })).toEqual(want);
});

test('what an image exposes and means nothing is no variable', () => {
  const exposedPorts = ['1-4000000000/tcp', '80 } ; flush ruleset', '0/tcp', '9-8/udp', '70000', '7/TCP', '7/sctp'];
  const variables = linkVariables('/web/db', '10.0.0.2', { exposedPorts, env: [] });
  expect(variables.filter((text) => /_PORT=/.test(text))).toEqual([
    'DB_PORT=sctp://10.0.0.2:7',
    'DB_PORT_7_SCTP_PORT=7',
  ]);
});
