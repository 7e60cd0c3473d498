import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addressText, addressValue, contains, macAddressFor, overlaps, parseSubnet, subnetText } from './subnet.ts';

test.each([
  { text: '172.17.5.9/16', want: '172.17.0.0/16' },
  { text: '0.0.0.0/0', want: '0.0.0.0/0' },
  { text: '10.1.2.3/32', want: '10.1.2.3/32' },
  { text: 'fd00:1::5/64', want: 'fd00:1::/64' },
  { text: '::/0', want: '::/0' },
])('parseSubnet clears host bits: $text', ({ text, want }) => expect(subnetText(parseSubnet(text))).toBe(want));

test.each([
  '',
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0/8',
  'fd00::/129',
  '10.0.0.0/8/8',
  '10.0.0.0/-1',
  'x/8',
  'fe80::1%eth0/64',
])('parseSubnet refuses %j', (text) => expect(() => parseSubnet(text)).toThrow(/invalid subnet/));

test('an address survives the way to a number and back', () => {
  fc.assert(
    fc.property(fc.constantFrom(4, 6), fc.bigInt(0n, (1n << 128n) - 1n), (family, value) => {
      const wanted = family === 4 ? value & 0xffffffffn : value;
      return addressValue(addressText(wanted, family as 4 | 6)) === wanted;
    }),
  );
});

test.each([
  { a: '10.0.0.0/8', b: '10.5.0.0/16', want: true },
  { a: '10.5.0.0/16', b: '10.0.0.0/8', want: true },
  { a: '10.0.0.0/16', b: '10.1.0.0/16', want: false },
  { a: '0.0.0.0/0', b: 'fd00::/8', want: false },
])('$a and $b overlap: $want', ({ a, b, want }) => expect(overlaps(parseSubnet(a), parseSubnet(b))).toBe(want));

test.each([
  { subnet: '10.0.0.0/30', address: '10.0.0.3', want: true },
  { subnet: '10.0.0.0/30', address: '10.0.0.4', want: false },
  { subnet: '10.0.0.0/30', address: '::1', want: false },
  { subnet: '10.0.0.0/30', address: 'nonsense', want: false },
])('$address in $subnet: $want', ({ subnet, address, want }) =>
  expect(contains(parseSubnet(subnet), address)).toBe(want),
);

test('a MAC address is made of the IPv4 address', () => expect(macAddressFor('172.17.0.10')).toBe('02:42:ac:11:00:0a'));
