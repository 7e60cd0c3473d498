import { expect, test } from 'vitest';
import type { GlobalValues } from '../command.ts';
import { defaultSocket } from './connect.ts';
import { parseHost } from './host.ts';

test.each([
  ['unix:///run/x.sock', { path: '/run/x.sock' }],
  ['/run/x.sock', { path: '/run/x.sock' }],
  ['tcp://10.0.0.1:2376', { host: '10.0.0.1', port: 2376 }],
  ['tcp://h', { host: 'h', port: 2375 }],
  ['tcp://:80', { host: '127.0.0.1', port: 80 }],
  ['tcp://[::1]:80', { host: '::1', port: 80 }],
])('host %s', (text, want) => expect(parseHost(text)).toEqual(want));

test.each(['', 'unix://x', 'tcp://h:0', 'tcp://h:99999', 'tcp://a:b:c', 'ftp://x', 'ssh://h', 'npipe://x'])(
  'host %j is refused',
  (text) => {
    expect(() => parseHost(text)).toThrow(/host /);
  },
);

test('the socket follows the runtime folder', () => {
  const globals = { host: [] } as unknown as GlobalValues;
  expect(defaultSocket({ ...globals, 'exec-root': '/x' }, {})).toBe('/x/tare.sock');
  expect(defaultSocket({ ...globals, 'data-root': '/x' }, {})).toBeUndefined();
});
