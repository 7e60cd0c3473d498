import { expect, test } from 'vitest';
import { occupiedSubnets, pickSubnet, standardPools, uniqueLocalPool } from './address-pools.ts';
import { parseSubnet, subnetText } from './subnet.ts';

const pick = (...taken: string[]): string => subnetText(pickSubnet(4, standardPools, taken.map(parseSubnet)));

test.each([
  { taken: [], want: '172.17.0.0/16' },
  { taken: ['172.17.0.0/16'], want: '172.18.0.0/16' },
  { taken: ['172.17.200.0/24', '172.18.0.1/32'], want: '172.19.0.0/16' },
  { taken: ['172.16.0.0/12'], want: '192.168.0.0/20' },
  { taken: ['172.16.0.0/12', '192.168.0.0/24', '192.168.17.0/24'], want: '192.168.32.0/20' },
])('beside $taken the first free subnet is $want', ({ taken, want }) => expect(pick(...taken)).toBe(want));

test('when everything is taken, it says what to do', () => {
  expect(() => pick('0.0.0.0/0')).toThrow(/fully subnetted.*--subnet/);
});

test('two instances have different IPv6 blocks, each always its own', () => {
  expect(uniqueLocalPool('tare')).toEqual(uniqueLocalPool('tare'));
  expect(uniqueLocalPool('tare')).not.toEqual(uniqueLocalPool('tare-12345678'));
  expect(uniqueLocalPool('tare').base).toMatch(/^fd[0-9a-f:]+\/48$/);
  expect(subnetText(pickSubnet(6, [uniqueLocalPool('tare')], []))).toMatch(/^fd.*::\/64$/);
});

test('the default route occupies nothing', () => {
  const routes = [
    { destination: '0.0.0.0', prefix: 0, gateway: '10.0.0.1', index: 2 },
    { destination: '10.8.0.0', prefix: 16, gateway: '10.0.0.9', index: 2 },
  ];
  const occupied = occupiedSubnets([{ index: 2, address: '10.0.0.5', prefix: 24 }], routes);
  expect(occupied.map(subnetText)).toEqual(['10.0.0.0/24', '10.8.0.0/16']);
});
