import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatAddress, parseAddress } from './internet-address.ts';
import { attributeText, attributeU32, NetlinkError, NetlinkWriter, readAttributes } from './netlink.ts';
import { RouteSocket } from './netlink-route.ts';

test('attributes are padded to four bytes, nests carry their length', () => {
  const { bytes } = new NetlinkWriter().nest(18, (info) => info.string(1, 'veth').u32(2, 7));
  expect(bytes.toString('hex')).toBe('180012800900010076657468000000000800020007000000');
});

test('what was written is read', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 700 }))),
      (wanted) => {
        const writer = new NetlinkWriter();
        for (const [type, value] of wanted) writer.attribute(type, value);
        const found = readAttributes(writer.bytes);
        // Of a repeated type the last is kept.
        for (const [type, value] of new Map(wanted)) expect(found.get(type)).toEqual(Buffer.from(value));
      },
    ),
  );
});

test('malformed attributes end the reading, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const value of readAttributes(Buffer.from(bytes)).values()) {
        attributeText(value);
        attributeU32(value);
      }
    }),
  );
});

test.each([
  { text: '10.0.0.1', hex: '0a000001' },
  { text: '::', hex: '00000000000000000000000000000000' },
  { text: '::1', hex: '00000000000000000000000000000001' },
  { text: 'fd00:1::', hex: 'fd000001000000000000000000000000' },
  { text: '2001:db8::a:0:0:1', hex: '20010db800000000000a000000000001' },
  { text: '1:2:3:4:5:6:7:8', hex: '00010002000300040005000600070008' },
])('$text', ({ text, hex }) => {
  expect(parseAddress(text).toString('hex')).toBe(hex);
  expect(formatAddress(Buffer.from(hex, 'hex'))).toBe(text);
});

test('an IPv4 address in an IPv6 one', () => {
  expect(parseAddress('::ffff:10.0.0.1').toString('hex')).toBe('00000000000000000000ffff0a000001');
});

test.each(['', '1.2.3', '1.2.3.4.5', '::1::', 'g::', 'localhost'])('%j is not an address', (text) => {
  expect(() => parseAddress(text)).toThrow(RangeError);
});

test('a refused request says what was asked, and why', () => {
  using route = new RouteSocket();
  expect(route.link('no-such-link')).toBeUndefined();
  let refusal: unknown;
  try {
    route.addAddress(999_999, '10.99.99.1', 24);
  } catch (error) {
    refusal = error;
  }
  expect(refusal).toBeInstanceOf(NetlinkError);
  expect((refusal as NetlinkError).code).toBe('ENODEV');
  expect((refusal as NetlinkError).message).toContain('add address 10.99.99.1/24');
});

test('the loopback link is found, and in the dump too', () => {
  using route = new RouteSocket();
  expect(route.link('lo')).toMatchObject({ index: 1, name: 'lo' });
  expect(route.links().find(({ name }) => name === 'lo')).toEqual(route.link('lo'));
});
