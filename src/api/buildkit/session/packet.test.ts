import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { goModeOf, stat, unixModeOf, wire } from '../../../protocol/index.ts';
import { decodePacket, decodeStat, encodeDataHead, encodeEntry, encodeShort, PacketType, statIn } from './packet.ts';

const entry = {
  path: 'a/é/b',
  mode: 0o104755,
  uid: 70_000,
  gid: 3,
  sizeBytes: 5_000_000_000,
  modifiedNs: 1_700_000_000_123_456_789n,
  linkname: 'a/x',
  deviceMajor: 8,
  deviceMinor: 1,
  xattrs: { 'user.key': Uint8Array.of(1, 2, 255) },
};

test('an entry is written as the generated messages read it', () => {
  const packet = fromBinary(wire.PacketSchema, encodeEntry(entry));
  expect(packet.type).toBe(wire.Packet_PacketType.PACKET_STAT);
  expect(packet.stat).toMatchObject({
    ...{ path: 'a/é/b', mode: 0o755 | 0x0080_0000, uid: 70_000, gid: 3, size: 5_000_000_000n },
    ...{ modTime: entry.modifiedNs, linkname: 'a/x', devmajor: 8n, devminor: 1n },
  });
  expect([...packet.stat!.xattrs['user.key']!]).toEqual([1, 2, 255]);
});

test.each([entry.modifiedNs, 0n, -1n, -62_135_596_800_000_000_000n + (1n << 64n)])(
  'a time of %d ns is read back',
  (modTime) => {
    const sent = create(wire.PacketSchema, {
      stat: create(stat.StatSchema, { path: 'f', mode: 0o644, modTime: BigInt.asIntN(64, modTime) }),
    });
    expect(decodeStat(decodePacket(toBinary(wire.PacketSchema, sent)).stat!).modifiedNs).toBe(
      BigInt.asIntN(64, modTime),
    );
  },
);

test('an entry is read back as it was written', () => {
  const { stat } = decodePacket(encodeEntry(entry));
  expect(decodeStat(stat!)).toEqual({ ...entry, xattrs: { 'user.key': Buffer.from([1, 2, 255]) } });
});

test('the bytes of an entry are found without reading it, and only where nothing else is in the packet', () => {
  const long = { ...entry, path: 'x'.repeat(300) };
  for (const one of [entry, long]) {
    const packet = encodeEntry(one);
    expect(Buffer.from(statIn(packet)!)).toEqual(Buffer.from(decodePacket(packet).stat!));
    expect(statIn(Buffer.concat([packet, encodeShort(PacketType.FIN, 0)]))).toBeUndefined();
    expect(statIn(packet.subarray(0, 20))).toBeUndefined();
  }
  expect(statIn(encodeShort(PacketType.FIN, 0))).toBeUndefined();
  expect(statIn(new Uint8Array(0))).toBeUndefined();
  expect(statIn(Uint8Array.of(0x12, 0xff, 0xff, 0xff, 0xff, 0xff))).toBeUndefined();
});

test('a piece of a file follows its head', () => {
  const data = Buffer.from('content');
  const packet = fromBinary(wire.PacketSchema, Buffer.concat([encodeDataHead(300, data.length), data]));
  expect(packet).toMatchObject({ type: PacketType.DATA, ID: 300 });
  expect(Buffer.from(packet.data).toString()).toBe('content');
  expect(fromBinary(wire.PacketSchema, encodeShort(PacketType.REQ, 7))).toMatchObject({ type: PacketType.REQ, ID: 7 });
});

test.each([Uint8Array.of(0x12, 0x7f), Uint8Array.of(0x08, 0x80), Uint8Array.of(0x0b), new Uint8Array(12).fill(0xff)])(
  'a broken packet is refused: %s',
  (bytes) => {
    expect(() => decodePacket(bytes)).toThrow(/cannot be read/);
  },
);

test.each([0o100644, 0o104755, 0o041777, 0o120777, 0o060660, 0o020620, 0o010600, 0o140755])(
  'mode %o there and back',
  (mode) => {
    expect(unixModeOf(goModeOf(mode))).toBe(mode);
  },
);
