import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { catalogueOf, withBytes } from './files.fixture.ts';
import { goPackages, readGoBuild } from './go-binary.ts';

const modules = `path\texample.com/cmd/tool
mod\texample.com/tool\tv1.4.0\th1:abc=
dep\tgithub.com/BurntSushi/toml\tv1.3.2\th1:def=
dep\tgolang.org/x/net\tv0.1.0
=>\tgolang.org/x/net\tv0.17.0\th1:ghi=
dep\texample.com/local\tv0.0.1
=>\t../local
build\t-compiler=gc
`;
const frame = Buffer.alloc(16, 7);
const framed = Buffer.concat([frame, Buffer.from(modules), frame]);

interface Layout {
  is64: boolean;
  isLittle: boolean;
  form: 'inline' | 'pointers';
  /** Without section headers, as a stripped program may be. */
  hasSections: boolean;
}

/** An ELF program with nothing but a data segment that holds Go's build information. */
function program({ is64, isLittle, form, hasSections }: Layout): Buffer {
  const [word, headBytes, programBytes, sectionBytes] = is64 ? [8, 64, 56, 64] : [4, 52, 32, 40];
  const dataAt = 4096;
  const base = 0x10000;
  const put = (target: Buffer, at: number, size: number, value: number) => {
    if (size === 2) target[isLittle ? 'writeUInt16LE' : 'writeUInt16BE'](value, at);
    else if (size === 4) target[isLittle ? 'writeUInt32LE' : 'writeUInt32BE'](value, at);
    else target[isLittle ? 'writeBigUInt64LE' : 'writeBigUInt64BE'](BigInt(value), at);
  };
  const version = Buffer.from('go1.21.5');
  const data = Buffer.alloc(8192);
  const info = 64;
  data.write('\xff Go buildinf:', info, 'latin1');
  if (form === 'inline') {
    data[info + 15] = 2;
    const varint = (n: number) => (n < 128 ? [n] : [(n & 0x7f) | 0x80, n >> 7]);
    Buffer.from([...varint(version.length), ...version, ...varint(framed.length), ...framed]).copy(data, info + 32);
  } else {
    data[info + 14] = word;
    data[info + 15] = isLittle ? 0 : 1;
    for (const [at, text, headerAt] of [
      [1024, version, 512],
      [2048, framed, 544],
    ] as const) {
      text.copy(data, at);
      put(data, headerAt, word, base + at);
      put(data, headerAt + word, word, text.length);
    }
    put(data, info + 16, word, base + 512);
    put(data, info + 16 + word, word, base + 544);
  }
  const file = Buffer.alloc(dataAt + data.length + 1024);
  data.copy(file, dataAt);
  file.write('\x7fELF', 'latin1');
  file[4] = is64 ? 2 : 1;
  file[5] = isLittle ? 1 : 2;
  put(file, is64 ? 32 : 28, word, headBytes);
  put(file, is64 ? 54 : 42, 2, programBytes);
  put(file, is64 ? 56 : 44, 2, 1);
  put(file, headBytes, 4, 1);
  put(file, headBytes + (is64 ? 4 : 24), 4, 6);
  put(file, headBytes + (is64 ? 8 : 4), word, dataAt);
  put(file, headBytes + (is64 ? 16 : 8), word, base);
  put(file, headBytes + (is64 ? 32 : 16), word, data.length);
  if (!hasSections) return file;
  const sections = dataAt + data.length;
  const names = '\0.go.buildinfo\0.shstrtab\0';
  const namesAt = sections + 3 * sectionBytes;
  file.write(names, namesAt, 'latin1');
  put(file, is64 ? 40 : 32, word, sections);
  put(file, is64 ? 58 : 46, 2, sectionBytes);
  put(file, is64 ? 60 : 48, 2, 3);
  put(file, is64 ? 62 : 50, 2, 2);
  const section = (index: number, name: number, address: number, offset: number, size: number) => {
    const at = sections + index * sectionBytes;
    put(file, at, 4, name);
    put(file, at + (is64 ? 16 : 12), word, address);
    put(file, at + (is64 ? 24 : 16), word, offset);
    put(file, at + (is64 ? 32 : 20), word, size);
  };
  section(1, 1, base + info, dataAt + info, data.length - info);
  section(2, 15, 0, namesAt, names.length);
  return file;
}

const layouts: Layout[] = [true, false].flatMap((is64) =>
  [true, false].flatMap((isLittle) =>
    (['inline', 'pointers'] as const).flatMap((form) =>
      [true, false].map((hasSections) => ({ is64, isLittle, form, hasSections })),
    ),
  ),
);

test.each(layouts)(
  'build information: $form, 64 bits $is64, little-endian $isLittle, sections $hasSections',
  async (layout) => {
    const bytes = program(layout);
    const build = await withBytes(bytes, (fd) => readGoBuild(fd, 'tool', bytes.length));
    expect(build).toEqual({ goVersion: 'go1.21.5', modules });
  },
);

test('modules, replaced ones as what replaces them', () => {
  expect(
    goPackages({ goVersion: 'go1.21.5 X:nocoverageredesign', modules }).map(
      ({ name, version }) => `${name} ${version}`,
    ),
  ).toEqual([
    'stdlib 1.21.5',
    'example.com/tool v1.4.0',
    'github.com/BurntSushi/toml v1.3.2',
    'golang.org/x/net v0.17.0',
    'example.com/local v0.0.1',
  ]);
});

test('a program in an image', async () => {
  const bytes = Buffer.concat([program(layouts[0]!), Buffer.alloc(128 * 1024)]);
  const { packages } = await catalogueOf([{ 'usr/bin/tool': bytes, 'usr/bin/small': program(layouts[0]!) }]);
  expect(packages.map(({ purl, path }) => [purl, path])).toContainEqual([
    'pkg:golang/github.com/burntsushi/toml@v1.3.2',
    'usr/bin/tool',
  ]);
  expect(new Set(packages.map(({ path }) => path))).toEqual(new Set(['usr/bin/tool']));
});

test('programs that Go built', async () => {
  const programs = ['/usr/bin/skopeo', '/usr/bin/umoci', '/usr/sbin/runc'].filter(existsSync);
  expect(programs.length).toBeGreaterThan(0);
  for (const path of programs) {
    const bytes = readFileSync(path);
    const build = await withBytes(bytes, (fd) => readGoBuild(fd, path, bytes.length));
    expect(build?.goVersion, path).toMatch(/^go1\.\d+/);
  }
});

test('a program that Go did not build', async () => {
  const bytes = readFileSync('/bin/busybox');
  expect(await withBytes(bytes, (fd) => readGoBuild(fd, 'busybox', bytes.length))).toBeUndefined();
});

test('bytes changed anywhere are refused or read, quickly', async () => {
  const change = fc.record({
    layout: fc.constantFrom(...layouts),
    // The headers and the information itself, where a byte matters.
    edits: fc.array(
      fc.tuple(
        fc.oneof(fc.nat(200), fc.integer({ min: 4096, max: 4800 }), fc.integer({ min: 12288, max: 12600 })),
        fc.nat(255),
      ),
      { minLength: 1, maxLength: 6 },
    ),
    cut: fc.option(fc.nat(13_000)),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ layout, edits, cut }) => {
      const whole = program(layout);
      for (const [at, value] of edits) whole[at] = value;
      const bytes = cut === null ? whole : whole.subarray(0, cut);
      try {
        await withBytes(bytes, (fd) => readGoBuild(fd, 'tool', bytes.length));
      } catch (error) {
        expect(error).toMatchObject({ kind: 'InvalidArgument', message: expect.stringContaining('tool: its Go') });
      }
    }),
    { numRuns: 1500 },
  );
});
