import { expect, test } from 'vitest';
import { eventFilter } from './event-filter.ts';
import type { EventRecord, Filters } from './types.ts';

const id = 'c0ffee'.padEnd(64, '0');
const event = (change: Partial<EventRecord>): EventRecord => ({
  id: 1,
  timeNs: 0n,
  type: 'container',
  action: 'start',
  actorId: id,
  attributes: { image: 'docker.test:5000/web:1.2', name: 'shop-web-1', tier: 'front' },
  ...change,
});
const health = event({ action: 'health_status: healthy' });
const exec = event({ action: 'exec_create: sh -c true' });
const tagged = event({ type: 'image', action: 'tag', actorId: 'sha256:abc', attributes: { name: 'web:1' } });
const network = event({ type: 'network', action: 'connect', actorId: 'feed', attributes: { name: 'shop_net' } });

test.each<[EventRecord, Filters, boolean]>([
  [event({}), {}, true],
  [event({}), { event: ['start'] }, true],
  [event({}), { event: ['star'] }, false],
  [event({}), { event: ['stop', 'start'] }, true],
  [health, { event: ['health_status'] }, true],
  [health, { event: ['health_status: healthy'] }, true],
  [health, { event: ['health_status: unhealthy'] }, false],
  [exec, { event: ['exec_create'] }, true],
  [exec, { event: ['exec_start'] }, false],
  // Docker compares beginnings once one of the actions is open.
  [event({}), { event: ['star', 'health_status'] }, true],
  [event({}), { type: ['container', 'image'] }, true],
  [network, { type: ['container'] }, false],
  [event({}), { scope: ['local'] }, true],
  [event({}), { scope: ['swarm'] }, false],
  [event({}), { container: ['shop-web-1'] }, true],
  [event({}), { container: ['shop-web'] }, true],
  [event({}), { container: ['c0ffee'] }, true],
  [event({}), { container: ['web-1'] }, false],
  [network, { network: ['shop_net'] }, true],
  [network, { network: ['fee'] }, true],
  // No type is looked at, so this names a network too.
  [network, { volume: ['shop_net'] }, true],
  [event({}), { network: ['other'] }, false],
  [event({}), { node: ['n1'] }, false],
  [event({}), { image: ['docker.test:5000/web:1.2'] }, true],
  [event({}), { image: ['docker.test:5000/web'] }, true],
  [event({}), { image: ['web'] }, false],
  [tagged, { image: ['web'] }, true],
  [tagged, { image: ['web:1'] }, true],
  [tagged, { image: ['sha256:abc'] }, true],
  [network, { image: ['shop_net'] }, false],
  [event({}), { label: ['tier'] }, true],
  [event({}), { label: ['tier=front', 'name=shop-web-1'] }, true],
  [event({}), { label: ['tier=back'] }, false],
  [event({}), { label: ['tier', 'absent'] }, false],
  [event({}), { type: ['container'], event: ['stop'] }, false],
])('%#: an event under a filter', (record, filters, want) => {
  expect(eventFilter(filters)(record)).toBe(want);
});

test('a filter that docker does not have is refused', () => {
  expect(() => eventFilter({ colour: ['red'] })).toThrow("invalid filter 'colour'");
});
