import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { collect, file, folder, streamOf, tar } from '../scratch.fixture.ts';
import { encodeHeader, type TarEntry, type TarHeader, TarParser } from './index.ts';
import { readTar } from './stream.ts';

/** All entries and bodies of an archive that arrives in pieces of one size. */
function parse(bytes: Buffer, pieceBytes: number): { header: TarHeader; body: Buffer }[] {
  const parser = new TarParser();
  const entries: { header: TarHeader; body: Buffer }[] = [];
  for (let at = 0; ; ) {
    const step = parser.next();
    if (step === 'finished') return entries;
    if (step === 'entry') entries.push({ header: parser.header, body: Buffer.alloc(0) });
    const last = entries.at(-1);
    if (step === 'data' && last) last.body = Buffer.concat([last.body, parser.chunk]);
    if (step !== 'more') continue;
    if (at >= bytes.length) parser.end();
    else parser.push(bytes.subarray(at, at + pieceBytes));
    at += pieceBytes;
  }
}

const name = fc
  .string({
    minLength: 1,
    maxLength: 300,
    unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)),
  })
  // A slash at the end makes a folder, one at the start or doubled is the writer's choice.
  .filter((text) => !text.includes('/'));
const xattrs = fc
  .dictionary(fc.stringMatching(/^user\.[a-z]{1,20}$/), fc.uint8Array({ maxLength: 50 }), { maxKeys: 3 })
  .map((record) => new Map(Object.entries(record).map(([key, value]) => [key, Buffer.from(value)])));
const common = {
  path: name,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 0xffff_fffe }),
  gid: fc.integer({ min: 0, max: 0xffff_fffe }),
  modifyNs: fc.integer({ min: -(2 ** 33), max: 2 ** 40 }).map((seconds) => BigInt(seconds) * 1_000_000_000n),
  xattrs,
};
const entry = fc.oneof(
  fc.record({ ...common, type: fc.constant('file' as const), body: fc.uint8Array({ maxLength: 2000 }) }),
  fc.record({ ...common, type: fc.constant('link' as const), linkTarget: name }),
  fc.record({ ...common, type: fc.constant('fifo' as const) }),
);

describe('parser and encoder', () => {
  test('what was encoded is parsed, wherever the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), fc.integer({ min: 1, max: 3000 }), (entries, pieceBytes) => {
        const plain = entries.map((one) => ({ ...one, body: 'body' in one ? Buffer.from(one.body) : Buffer.alloc(0) }));
        const parsed = parse(tar(...plain), pieceBytes);
        expect(parsed).toEqual(
          plain.map(({ body, ...want }) => ({
            header: expect.objectContaining({ ...want, sizeBytes: body.length } as TarEntry),
            body,
          })),
        );
      }),
      { numRuns: 200 },
    );
  });

  test('damaged bytes are parsed or refused, never anything else', () => {
    const sound = tar(folder('a'), file(`a/${'x'.repeat(150)}`, 'body'.repeat(200)), file('a/y', 'z'));
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(sound.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 100, max: 3000 }),
        (changes, pieceBytes) => {
          const bytes = Buffer.from(sound);
          for (const [at, value] of changes) bytes[at] = value;
          // Repaired checksums let the damage through to the fields.
          for (let at = 0; at + 512 <= bytes.length; at += 512) {
            if (bytes.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
            bytes.fill(0x20, at + 148, at + 156);
            const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
            bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
          }
          try {
            parse(bytes, pieceBytes);
          } catch (error) {
            expect(error).toBeInstanceOf(TareError);
            expect(error).toMatchObject({ kind: 'InvalidArgument' });
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test('a header cut to one block says all that ustar can', () => {
    expect(encodeHeader({ path: 'plain', type: 'file' })).toHaveLength(512);
    expect(encodeHeader({ path: `${'d'.repeat(90)}/${'f'.repeat(90)}`, type: 'file' })).toHaveLength(512);
    expect(encodeHeader({ path: 'é', type: 'file' }).length).toBeGreaterThan(512);
  });
});

test('a file is a folder by the end of its whole name, not of what the block has of it', () => {
  const path = `${'d'.repeat(80)}/${'e'.repeat(18)}/${'f'.repeat(200)}`;
  const header = encodeHeader({ path, type: 'file', xattrs: new Map([['user.x', Buffer.from('x')]]), sizeBytes: 4 });
  const long = encodeHeader({ path: `${path}/`, type: 'file' });
  // As writers do that cut the name: GNU tar and Go's archive/tar among them.
  const cut = Buffer.from(header);
  const block = cut.subarray(-512);
  block.write(path.slice(0, 100), 'latin1');
  block.fill(0x20, 148, 156);
  block.write(
    `${block
      .reduce((total, byte) => total + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  const all = parse(tar(Buffer.concat([cut, Buffer.from('body'), Buffer.alloc(508)]), long), 700);
  expect(block.toString('latin1', 99, 100)).toBe('/');
  expect(all.map(({ header: { type } }) => type)).toEqual(['file', 'directory']);
});

test('readTar streams bodies, skips what is left unread, and drains its source', async () => {
  let isDrained = false;
  async function* source() {
    yield* streamOf(
      Buffer.concat([tar(file('a', 'first'), file('b', 'x'.repeat(5000)), file('c', 'last')), Buffer.alloc(9000)]),
      700,
    );
    isDrained = true;
  }
  const seen: string[] = [];
  for await (const { header, body } of readTar(source())) {
    seen.push(header.path === 'b' ? 'b skipped' : `${header.path} ${await collect(body)}`);
  }
  expect(seen).toEqual(['a first', 'b skipped', 'c last']);
  expect(isDrained).toBe(true);
});
