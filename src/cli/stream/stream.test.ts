import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { Demultiplexer } from './demultiplex.ts';
import { DetachKeys, parseKeys } from './detach-keys.ts';
import { Output } from './output.ts';
import { END_OF_TAR, tarHeader, tarPadding } from './tar.ts';
import { readTar } from './tar-reader.ts';

const frame = (stream: number, text: string) => {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
};

test('frames are taken apart however they are cut', () => {
  const whole = Buffer.concat([frame(1, 'out'), frame(2, 'err'), frame(1, ''), frame(1, 'put')]);
  fc.assert(
    fc.property(fc.array(fc.nat(whole.length)), (cuts) => {
      const seen = { stdin: '', stdout: '', stderr: '', system: '' };
      const frames = new Demultiplexer((stream, bytes) => {
        seen[stream] += Buffer.from(bytes).toString();
      });
      const at = [0, ...cuts.sort((a, b) => a - b), whole.length];
      for (const [i, start] of at.slice(0, -1).entries()) frames.feed(whole.subarray(start, at[i + 1]));
      frames.finish();
      expect(seen).toEqual({ stdin: '', stdout: 'output', stderr: 'err', system: '' });
    }),
  );
});

test('what is no frame, or half of one, is refused', () => {
  expect(() => new Demultiplexer(() => {}).feed(Buffer.from('plain text'))).toThrow(/unrecognised stream frame/);
  const frames = new Demultiplexer(() => {});
  frames.feed(frame(1, 'abc').subarray(0, 9));
  expect(() => frames.finish()).toThrow(/cut off/);
});

test('an output writes all pieces in order and holds its producer back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-output-'));
  const descriptor = openSync(join(folder, 'f'), 'w');
  try {
    const output = new Output(descriptor);
    const want: string[] = [];
    let waited = 0;
    for (let i = 0; i < 5000; i++) {
      const line = `${i} ${'x'.repeat(1000)}\n`;
      want.push(line);
      const slow = output.write(Buffer.from(line));
      if (slow) {
        waited++;
        await slow;
      }
    }
    await output.flush();
    expect(readFileSync(join(folder, 'f'), 'utf8')).toBe(want.join(''));
    expect(waited).toBeGreaterThan(1);
  } finally {
    closeSync(descriptor);
    rmSync(folder, { recursive: true });
  }
});

test('an output tells of a descriptor that cannot be written', async () => {
  const descriptor = openSync('/dev/full', 'w');
  const output = new Output(descriptor);
  output.write(Buffer.from('x'));
  await expect(output.flush()).rejects.toThrow(/ENOSPC/);
  expect(() => output.write(Buffer.from('y'))).toThrow(/ENOSPC/);
  closeSync(descriptor);
});

test.each([
  { typed: ['abc'], passed: 'abc', detached: false },
  { typed: ['a\x10\x11b'], passed: 'a', detached: true },
  { typed: ['a\x10', '\x11'], passed: 'a', detached: true },
  { typed: ['a\x10', 'b'], passed: 'a\x10b', detached: false },
  { typed: ['\x10\x10\x11'], passed: '\x10', detached: true },
])('detach keys in $typed', ({ typed, passed, detached }) => {
  const keys = new DetachKeys('');
  const text = typed.map((part) => Buffer.from(keys.filter(Buffer.from(part))).toString()).join('');
  expect(text).toBe(passed);
  expect(keys.detached).toBe(detached);
});

test('the notation of keys', () => {
  expect([...parseKeys('ctrl-a,x,ctrl-@,ctrl-_')]).toEqual([1, 120, 0, 31]);
  for (const bad of ['ctrl-', 'ctrl-1', 'ab', '', 'ä']) expect(() => parseKeys(bad)).toThrow(/detach keys/);
});

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function contents(bytes: Uint8Array, size = 100) {
  const found: { name: string; type: string; linkTarget: string; text: string; mode: number }[] = [];
  for await (const { name, type, linkTarget, mode, content } of readTar(pieces(bytes, size))) {
    let text = '';
    for await (const chunk of content) text += Buffer.from(chunk).toString();
    found.push({ name, type, linkTarget, text, mode });
  }
  return found;
}

const entry = { mode: 0o644, uid: 3_000_000_000, gid: 0, modifiedSeconds: 1, sizeBytes: 0 };

test('what is written as a tar is read by tar and by us', async () => {
  const long = `${'d'.repeat(150)}/ä`;
  const bytes = Buffer.concat([
    tarHeader({ ...entry, name: 'folder/', type: 'directory', mode: 0o755 }),
    tarHeader({ ...entry, name: long, type: 'file', sizeBytes: 5 }),
    Buffer.from('hello'),
    tarPadding(5),
    tarHeader({ ...entry, name: 'link', type: 'symlink', linkTarget: 't'.repeat(120) }),
    END_OF_TAR,
  ]);
  expect(
    execFileSync('tar', ['-tf', '-'], {
      input: bytes,
      encoding: 'utf8',
      env: { LC_ALL: 'C.UTF-8', PATH: process.env['PATH'] },
    }),
  ).toBe(`folder/\n${long}\nlink\n`);
  expect(await contents(bytes)).toEqual([
    { name: 'folder/', type: 'directory', linkTarget: '', text: '', mode: 0o755 },
    { name: long, type: 'file', linkTarget: '', text: 'hello', mode: 0o644 },
    { name: 'link', type: 'symlink', linkTarget: 't'.repeat(120), text: '', mode: 0o644 },
  ]);
});

test.each(['gnu', 'posix', 'ustar'])('a tar of GNU tar in %s format is read', async (format) => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-tar-'));
  const name = 'n'.repeat(format === 'ustar' ? 90 : 200);
  writeFileSync(join(folder, name), 'text');
  const bytes = execFileSync('tar', ['-C', folder, `--format=${format}`, '-cf', '-', name]);
  rmSync(folder, { recursive: true });
  expect(await contents(bytes, 7)).toMatchObject([{ name, type: 'file', text: 'text' }]);
});

test('content that nobody reads is skipped', async () => {
  const file = (name: string) => [
    tarHeader({ ...entry, name, type: 'file' as const, sizeBytes: 600 }),
    Buffer.alloc(600),
    tarPadding(600),
  ];
  const names: string[] = [];
  for await (const { name } of readTar(pieces(Buffer.concat([...file('a'), ...file('b'), END_OF_TAR]), 1000)))
    names.push(name);
  expect(names).toEqual(['a', 'b']);
});

test('a damaged tar is refused', async () => {
  const good = Buffer.concat([
    tarHeader({ ...entry, name: 'x'.repeat(150), type: 'file', sizeBytes: 5 }),
    Buffer.from('hello'),
    tarPadding(5),
    END_OF_TAR,
  ]);
  await expect(contents(good.subarray(0, good.length - 1200))).rejects.toThrow(/cut off/);
  await fc.assert(
    fc.asyncProperty(fc.nat(good.length - 1), fc.nat(255), async (at, byte) => {
      const changed = Buffer.from(good);
      changed[at] = byte;
      try {
        await contents(changed);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
    { numRuns: 300 },
  );
});
