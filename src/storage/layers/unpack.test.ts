import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { AT_FDCWD, getXattrAt, O_DIRECTORY, O_RDONLY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import type { Compression } from '../layer-store.ts';
import { file, folder, hardlink, link, scratch, type TestEntry, tar, whiteout } from '../scratch.fixture.ts';
import { encodeHeader, padding } from '../tar/index.ts';
import { encodePaxRecord } from '../tar/pax.ts';
import { type ArchiveLimits, defaultLimits } from '../tree/budget.ts';
import type { UnpackedLayer } from './layer-record.ts';
import { unpackLayer } from './unpack.ts';

const diffIDOf = (bytes: Buffer): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

async function unpack(
  root: string,
  bytes: Buffer,
  options: { compression?: Compression; limits?: Partial<ArchiveLimits> } = {},
): Promise<UnpackedLayer & { path: string }> {
  const blob = join(root, 'blob');
  const directory = join(root, 'diff');
  writeFileSync(blob, bytes);
  mkdirSync(directory, { recursive: true });
  const { compression, limits } = options;
  using file = new OpenFile(openAt(AT_FDCWD, toByteString(blob), O_RDONLY));
  const layer = await unpackLayer({
    ...{ blob: { fd: file.fd }, compression, directory, userXattrs: false },
    limits: { ...defaultLimits, ...limits },
  });
  return { ...layer, path: directory };
}

const xattr = (path: string, name: string): string | undefined => {
  using folder = new OpenFile(openAt(AT_FDCWD, dirname(path), O_DIRECTORY));
  return getXattrAt(folder.fd, basename(path), name)?.toString('hex');
};

describe('what a layer may hold', () => {
  test('every kind of entry, with owner, mode and time', async () => {
    using dir = scratch();
    const bytes = tar(
      folder('./', { mode: 0o751, uid: 3, gid: 4 }),
      folder('a', { mode: 0o700, uid: 5, gid: 6, modifyNs: 1_000_000_000_000_000_000n }),
      file('a/file', 'hello', { mode: 0o4755, uid: 2 ** 31, gid: 7, modifyNs: 1_234_567_890_000_000_000n }),
      hardlink('a/same', 'a/file'),
      link('a/link', '/etc/passwd'),
      { path: 'a/fifo', type: 'fifo', mode: 0o622 },
      { path: 'a/null', type: 'character', mode: 0o666, deviceMajor: 1, deviceMinor: 3 },
      { path: 'a/disk', type: 'block', mode: 0o660, deviceMajor: 259, deviceMinor: 300 },
    );
    const layer = await unpack(dir.path, bytes);
    expect(layer.diffID).toBe(diffIDOf(bytes));
    expect(layer).toMatchObject({ sizeBytes: 5, implied: [], root: { uid: 3, gid: 4, mode: 0o751 } });
    const at = (name: string) => lstatSync(join(layer.path, name));
    expect(at('a/file')).toMatchObject({ mode: 0o104755, uid: 2 ** 31, gid: 7, mtimeMs: 1_234_567_890_000, nlink: 2 });
    expect(at('a/same').ino).toBe(at('a/file').ino);
    expect(at('a')).toMatchObject({ mode: 0o040700, uid: 5, gid: 6, mtimeMs: 1_000_000_000_000 });
    expect(readlinkSync(join(layer.path, 'a/link'))).toBe('/etc/passwd');
    expect(at('a/fifo').mode).toBe(0o010622);
    expect(at('a/null')).toMatchObject({ mode: 0o020666, rdev: (1 << 8) | 3 });
    expect(at('a/disk')).toMatchObject({ mode: 0o060660, rdev: (259 << 8) | (300 & 0xff) | ((300 & ~0xff) << 12) });
  });

  test('a folder with the set-group-id bit gives its group to nothing', async () => {
    using dir = scratch();
    const layer = await unpack(
      dir.path,
      tar(folder('d', { mode: 0o2775, gid: 50 }), file('d/x'), folder('d/in'), link('d/l', 'x'), file('d/implied/x')),
    );
    for (const name of ['x', 'in', 'l', 'implied', 'implied/x']) {
      expect(lstatSync(join(layer.path, 'd', name)), name).toMatchObject({ uid: 0, gid: 0 });
    }
    expect(lstatSync(join(layer.path, 'd/in')).mode).toBe(0o040755);
  });

  test('extended attributes and file capabilities', async () => {
    using dir = scratch();
    const capability = Buffer.from('0100000200040000000000000000000000000000', 'hex');
    const xattrs = new Map([
      ['security.capability', capability],
      ['user.note', Buffer.from('hi')],
      ['trusted.overlay.redirect', Buffer.from('/etc')],
    ]);
    const layer = await unpack(dir.path, tar(file('ping', 'x', { uid: 1, mode: 0o755, xattrs })));
    expect(xattr(join(layer.path, 'ping'), 'security.capability')).toBe(capability.toString('hex'));
    expect(xattr(join(layer.path, 'ping'), 'user.note')).toBe('6869');
    expect(xattr(join(layer.path, 'ping'), 'trusted.overlay.redirect')).toBeUndefined();
  });

  test('names that are long, not ASCII, or not even UTF-8', async () => {
    using dir = scratch();
    const long = `${'d'.repeat(200)}/${'e'.repeat(200)}/${'f'.repeat(200)}`;
    const layer = await unpack(dir.path, tar(file(long, 'long'), file('\xc3\xa9', 'utf-8'), file('\xff\xfe', 'bytes')));
    expect(readFileSync(join(layer.path, long), 'utf8')).toBe('long');
    expect(readFileSync(join(layer.path, 'é'), 'utf8')).toBe('utf-8');
    expect(
      readdirSync(Buffer.from(layer.path), { encoding: 'buffer' }).some((name) =>
        name.equals(Buffer.from('fffe', 'hex')),
      ),
    ).toBe(true);
  });

  test.each<Compression>(['none', 'gzip', 'zstd', 'bzip2', 'xz'])('compressed with %s', async (compression) => {
    using dir = scratch();
    const bytes = tar(file('big', 'abcdefgh'.repeat(100_000)));
    const pack: Record<Compression, (input: Buffer) => Buffer> = {
      none: (input) => input,
      gzip: (input) => gzipSync(input),
      zstd: (input) => zstdCompressSync(input),
      bzip2: (input) => execFileSync('bzip2', ['-c'], { input }),
      xz: (input) => execFileSync('xz', ['-c'], { input }),
    };
    const layer = await unpack(dir.path, pack[compression](bytes), { compression });
    expect(layer.diffID).toBe(diffIDOf(bytes));
    expect(statSync(join(layer.path, 'big')).size).toBe(800_000);
  });

  test('folders that the tar does not name are told apart', async () => {
    using dir = scratch();
    const layer = await unpack(dir.path, tar(file('a/b/c/x', 'x'), folder('a/b', { mode: 0o700 })));
    expect(layer.implied).toEqual(['a', 'a/b/c']);
    expect(statSync(join(layer.path, 'a/b')).mode).toBe(0o040700);
  });

  test('a folder is what its last entry says, also through a link or below another name', async () => {
    using dir = scratch();
    const named = { mode: 0o700, uid: 5, modifyNs: 1_000_000_000_000_000_000n };
    const layer = await unpack(
      dir.path,
      tar(file('a/x'), link('c', '/'), folder('c/a', named), file('l/d/x'), folder('d', named), link('l', '.')),
    );
    for (const name of ['a', 'd']) {
      const { mode, uid, mtimeMs } = lstatSync(join(layer.path, name));
      expect({ mode, uid, mtimeMs }, name).toEqual({ mode: 0o040700, uid: 5, mtimeMs: 1_000_000_000_000 });
    }
    expect(layer.implied).toEqual([]);
  });

  test('a hard link to itself, also by another way, leaves the file', async () => {
    using dir = scratch();
    const layer = await unpack(
      dir.path,
      tar(folder('d'), file('d/x', 'kept'), link('l', 'd'), hardlink('l/x', 'd/x'), hardlink('d/x', './d/x')),
    );
    expect(readFileSync(join(layer.path, 'd/x'), 'utf8')).toBe('kept');
  });

  test('a later entry of the same name wins', async () => {
    using dir = scratch();
    const layer = await unpack(
      dir.path,
      tar(
        file('x', 'old'),
        file('x', 'new'),
        folder('d'),
        file('d/in', ''),
        file('d', 'file now'),
        link('l', 'x'),
        file('l', 'own'),
      ),
    );
    expect(readFileSync(join(layer.path, 'x'), 'utf8')).toBe('new');
    expect(readFileSync(join(layer.path, 'd'), 'utf8')).toBe('file now');
    expect(readFileSync(join(layer.path, 'l'), 'utf8')).toBe('own');
  });
});

describe('whiteouts', () => {
  const isWhiteout = (path: string) => {
    const status = lstatSync(path);
    return status.isCharacterDevice() && status.rdev === 0;
  };

  test('become 0:0 devices and opaque folders', async () => {
    using dir = scratch();
    const layer = await unpack(
      dir.path,
      tar(folder('d'), whiteout('d/.wh.gone'), folder('o'), whiteout('o/.wh..wh..opq')),
    );
    expect(isWhiteout(join(layer.path, 'd/gone'))).toBe(true);
    expect(xattr(join(layer.path, 'o'), 'trusted.overlay.opaque')).toBe('79');
    expect(readdirSync(join(layer.path, 'o'))).toEqual([]);
  });

  test.each<[string, TestEntry[]]>([
    ['before', [whiteout('.wh.x'), file('x', 'mine'), whiteout('.wh.d'), file('d/in', 'mine')]],
    ['after', [file('x', 'mine'), whiteout('.wh.x'), file('d/in', 'mine'), whiteout('.wh.d')]],
  ])('hide only lower layers: %s the entry itself', async (_, entries) => {
    using dir = scratch();
    const layer = await unpack(dir.path, tar(...entries));
    expect(readFileSync(join(layer.path, 'x'), 'utf8')).toBe('mine');
    expect(readFileSync(join(layer.path, 'd/in'), 'utf8')).toBe('mine');
    expect(xattr(join(layer.path, 'd'), 'trusted.overlay.opaque')).toBe('79');
    expect(layer.implied).toEqual([]);
  });

  test.each<[string, TestEntry[]]>([
    ['a link', [link('x', 'y'), whiteout('.wh.x'), folder('x')]],
    ['a file', [whiteout('.wh.x'), file('x'), folder('x')]],
  ])('hide lower layers below a folder that comes in the place of %s', async (_, entries) => {
    using dir = scratch();
    const layer = await unpack(dir.path, tar(...entries));
    expect(xattr(join(layer.path, 'x'), 'trusted.overlay.opaque')).toBe('79');
  });

  test('make a folder opaque through a link', async () => {
    using dir = scratch();
    const layer = await unpack(dir.path, tar(folder('d'), link('l', '/d'), whiteout('l/.wh..wh..opq')));
    expect(xattr(join(layer.path, 'd'), 'trusted.overlay.opaque')).toBe('79');
  });

  test.each(['.wh.', '.wh..', '.wh...', 'a/.wh...'])('refuses %s', async (name) => {
    using dir = scratch();
    await expect(unpack(dir.path, tar(whiteout(name)))).rejects.toThrow(/a whiteout for no name/);
  });
});

describe('hostile archives', () => {
  /** Beside the root lies what must stay as it is. */
  function guarded(path: string): () => void {
    writeFileSync(join(path, 'secret'), 'secret');
    return () => {
      expect(readFileSync(join(path, 'secret'), 'utf8')).toBe('secret');
      expect(readdirSync(path).filter((name) => name !== 'blob' && name !== 'diff')).toEqual(['secret']);
    };
  }

  test('absolute paths and inner .. stay beneath the root', async () => {
    using dir = scratch();
    const check = guarded(dir.path);
    const layer = await unpack(
      dir.path,
      tar(file('/abs', '1'), file('a/../b', '2'), file('/../../c', '3'), file('.//./d', '4')),
    );
    expect(readdirSync(layer.path).sort()).toEqual(['abs', 'b', 'c', 'd']);
    check();
  });

  test.each<[string, TestEntry[], RegExp]>([
    ['.. out of the root', [file('../secret', 'x')], /"\.\.\/secret".*out of the root/],
    ['.. deep in a path', [file('a/../../secret', 'x')], /out of the root/],
    ['a hard link out of the root', [hardlink('x', '../secret')], /hard link to "\.\.\/secret", out of the root/],
    ['a hard link through a link', [link('l', '/'), hardlink('x', 'l/../../secret')], /out of the root/],
    ['a hard link to nothing', [hardlink('x', 'nothing')], /which is no file of this archive/],
    ['a hard link to a whiteout', [whiteout('d/.wh.x'), hardlink('y', './d/x')], /a file that this layer deletes/],
    ['a hard link of a folder to itself', [folder('d'), hardlink('d', './d')], /which is no file of this archive/],
    ['a hard link to a folder', [folder('d'), hardlink('x', 'd')], /which is no file of this archive/],
    ['a link without a target', [link('x', '')], /a link without a target/],
    ['a file on the way', [file('f', ''), file('f/x', '')], /something on its way is not a folder/],
    ['a loop of links on the way', [link('a', 'b'), link('b', 'a'), file('a/x', '')], /form a loop/],
    ['a link to nowhere on the way', [link('a', 'nowhere'), file('a/x', '')], /leads nowhere/],
    ['a file as the root', [file('.', 'x')], /in place of the root/],
    ['a name that is too long', [file('n'.repeat(300), '')], /longer than the file system takes/],
  ])('refuses %s', async (_, entries, message) => {
    using dir = scratch();
    const check = guarded(dir.path);
    const failure = await unpack(dir.path, tar(...entries)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'InvalidArgument', message: expect.stringMatching(message) });
    check();
  });

  test.each(['/', '../..', '../../../..'])('a link to %s leads later entries back into the root', async (target) => {
    using dir = scratch();
    const check = guarded(dir.path);
    const layer = await unpack(dir.path, tar(link('up', target), file('up/secret', 'mine')));
    expect(readFileSync(join(layer.path, 'secret'), 'utf8')).toBe('mine');
    check();
  });

  test('a folder swapped for a link under later entries', async () => {
    using dir = scratch();
    const check = guarded(dir.path);
    const outside = join(dir.path, 'outside');
    mkdirSync(outside);
    const layer = await unpack(
      dir.path,
      tar(folder('d'), file('d/one', '1'), link('d', outside), folder(outside.slice(1)), file('d/two', '2')),
    );
    expect(readdirSync(outside)).toEqual([]);
    expect(readFileSync(join(layer.path, outside, 'two'), 'utf8')).toBe('2');
    execFileSync('rmdir', [outside]);
    check();
  });

  test.each(['..', '/'])(
    'a whiteout below a folder swapped for a link to %s reaches nothing outside',
    async (target) => {
      using dir = scratch();
      const check = guarded(dir.path);
      const layer = await unpack(
        dir.path,
        tar(folder('d'), whiteout('d/.wh.secret'), link('d', target), file('d/secret', 'mine')),
      );
      expect(readFileSync(join(layer.path, 'secret'), 'utf8')).toBe('mine');
      check();
    },
  );

  test('a folder swapped for a link to a name that cannot be', async () => {
    using dir = scratch();
    const target = `${'n'.repeat(300)}/x`;
    const layer = await unpack(dir.path, tar(folder('d/in'), file('d/x'), whiteout('d/.wh.x'), link('d', target)));
    expect(readlinkSync(join(layer.path, 'd'))).toBe(target);
  });

  test('a link that is there before is not written through', async () => {
    using dir = scratch();
    const check = guarded(dir.path);
    mkdirSync(join(dir.path, 'diff'));
    symlinkSync('../secret', join(dir.path, 'diff/x'));
    const layer = await unpack(dir.path, tar(file('x', 'mine')));
    expect(lstatSync(join(layer.path, 'x')).isFile()).toBe(true);
    check();
  });

  test.each<[string, Partial<ArchiveLimits>, RegExp]>([
    ['device bombs', { devices: 3 }, /more than 3 device nodes/],
    ['too many entries', { entries: 3 }, /more than 3 entries/],
    ['too many folders', { folderPathBytes: 100 }, /too many folders/],
    ['too many bytes', { bytes: 3 }, /more than 3 bytes/],
  ])('bounds %s', async (_, limits, message) => {
    using dir = scratch();
    const devices = [0, 1, 2, 3].map(
      (minor): TestEntry => ({ path: `d${minor}`, type: 'block', deviceMajor: 7, deviceMinor: minor }),
    );
    const folders = [0, 1, 2, 3].map((name) => folder(`f${name}`));
    await expect(unpack(dir.path, tar(...folders, ...devices, file('x', 'four')), { limits })).rejects.toThrow(message);
  });

  test('a disk that is nearly full', async () => {
    using dir = scratch();
    const failure = unpack(dir.path, tar(file('x', 'x')), { limits: { reserveBytes: 2 ** 60 } });
    await expect(failure).rejects.toMatchObject({
      kind: 'Unavailable',
      message: expect.stringMatching(/no space left/),
    });
  });

  test.each<Compression>(['gzip', 'zstd'])('a %s bomb that inflates a thousandfold', async (compression) => {
    using dir = scratch();
    const zeros = tar(file('zeros', '\0'.repeat(8 * 1024 * 1024)));
    const bomb = compression === 'gzip' ? gzipSync(zeros) : zstdCompressSync(zeros);
    const failure = unpack(dir.path, bomb, { compression, limits: { inflateFreeBytes: 1024 * 1024 } });
    await expect(failure).rejects.toThrow(/decompression bomb/);
  });

  test('every cut of an archive is refused or whole', async () => {
    const bytes = tar(folder('a'), file('a/x'.padEnd(150, 'x'), 'body'.repeat(300)), link('l', 'x'));
    const ends = new Set<number>();
    for (let size = 0; size < bytes.length - 1024; size += 100) {
      using dir = scratch();
      try {
        await unpack(dir.path, bytes.subarray(0, size));
        ends.add(size);
      } catch (error) {
        expect(error).toMatchObject({
          kind: 'InvalidArgument',
          message: expect.stringMatching(/truncated|extended header/),
        });
      }
    }
    // An empty stream, and cuts in the padding of a body (umoci leaves out the last one).
    expect([...ends]).toEqual([0, 3300, 3400, 3500]);
  });

  test.each<Compression>(['gzip', 'zstd'])('a truncated %s stream', async (compression) => {
    using dir = scratch();
    const bytes = tar({ path: 'x', type: 'file', body: randomBytes(100_000) });
    const packed = compression === 'gzip' ? gzipSync(bytes) : zstdCompressSync(bytes);
    const failure = unpack(dir.path, packed.subarray(0, packed.length / 2), { compression });
    await expect(failure).rejects.toMatchObject({
      kind: 'InvalidArgument',
      message: expect.stringMatching(/truncated/),
    });
  });

  const pax = (...records: [string, string][]): Buffer => {
    const body = Buffer.concat(records.map(([key, value]) => encodePaxRecord(key, Buffer.from(value))));
    const header = encodeHeader({ path: 'PaxHeaders/x', type: 'file', sizeBytes: body.length });
    header.write('x', 156);
    return Buffer.concat([reseal(header), body, padding(body.length)]);
  };
  const reseal = (header: Buffer): Buffer => {
    header.fill(0x20, 148, 156);
    let sum = 0;
    for (const byte of header) sum += byte;
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
    return header;
  };
  const forged = (change: (header: Buffer) => void): Buffer => {
    const header = encodeHeader({ path: 'x', type: 'file', sizeBytes: 0 });
    change(header);
    return reseal(header);
  };

  test.each<[string, Buffer, RegExp]>([
    ['a size larger than what follows', tar(forged((h) => h.write('77777777777', 124))), /truncated/],
    ['a negative size', tar(forged((h) => h.fill(0xff, 124, 136))), /negative size/],
    ['a size beyond counting', tar(forged((h) => h.fill(0x7f, 125, 136).writeUInt8(0x80, 124))), /out of range/],
    ['a size that is no number', tar(forged((h) => h.write('12x45', 124))), /no octal number/],
    ['an unknown type', tar(forged((h) => h.write('Q', 156))), /type "Q" is not supported/],
    ['a uid beyond the kernel', tar(pax(['uid', '4294967295']), file('x')), /uid 4294967295/],
    [
      'a PAX record with a wrong length',
      tar(Buffer.concat([pax(['path', 'abc'])]).fill('9', 512, 513), file('x')),
      /malformed PAX/,
    ],
    ['a PAX path with a NUL', tar(pax(['path', 'a\0b']), file('x')), /NUL/],
    ['a PAX size that lies', tar(pax(['size', '99999999']), file('x', 'small')), /truncated/],
    ['a PAX header without an entry', tar(pax(['path', 'abc'])), /before the entry/],
    [
      'a PAX header that fills memory',
      tar(reseal(forged((h) => h.write('x', 156)).fill('7', 124, 135))),
      /at most 1048576/,
    ],
    [
      'a sparse map outside the file',
      tar(pax(['GNU.sparse.map', '0,5,90,5'], ['GNU.sparse.size', '50']), file('x', '0123456789')),
      /outside 50 bytes/,
    ],
    [
      'a sparse map that overlaps',
      tar(pax(['GNU.sparse.map', '0,5,2,5'], ['GNU.sparse.size', '50']), file('x', '0123456789')),
      /overlaps/,
    ],
    [
      'a sparse map of another length',
      tar(pax(['GNU.sparse.map', '0,5'], ['GNU.sparse.size', '50']), file('x', '0123456789')),
      /counts 5 bytes/,
    ],
    ['no tar at all', Buffer.alloc(2048, 'this is no tar. '), /no tar/],
  ])('refuses %s', async (_, bytes, message) => {
    using dir = scratch();
    const failure = await unpack(dir.path, bytes).catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'InvalidArgument', message: expect.stringMatching(message) });
  });
});

describe('against GNU tar', () => {
  const listing = (path: string): string =>
    execFileSync('find', ['.', '-mindepth', '1', '-printf', '%P %y %m %U %G %s %l %Ts %n\n'], {
      cwd: path,
      encoding: 'utf8',
    })
      .split('\n')
      // The size of a folder is the file system's affair.
      .map((line) => line.replace(/^(\S+ d \S+ \S+ \S+) \S+/, '$1'))
      .sort()
      .join('\n');

  test.each(['v7', 'oldgnu', 'gnu', 'ustar', 'posix'])('the same tree from --format=%s', async (format) => {
    using dir = scratch();
    const source = join(dir.path, 'source');
    mkdirSync(join(source, 'sub/deep'), { recursive: true });
    writeFileSync(join(source, 'sub/deep/file'), 'x'.repeat(1500), { mode: 0o640 });
    writeFileSync(join(source, 'empty'), '');
    symlinkSync('sub/deep/file', join(source, 'link'));
    execFileSync('ln', [join(source, 'empty'), join(source, 'sub/hard')]);
    if (format !== 'v7') execFileSync('mkfifo', [join(source, 'fifo')]);
    if (format === 'gnu' || format === 'posix') writeFileSync(join(source, `sub/${'long'.repeat(60)}`), 'long');
    const bytes = execFileSync('tar', ['-c', `--format=${format}`, '--sort=name', '-C', source, '.'], {
      maxBuffer: 1e8,
    });
    const layer = await unpack(dir.path, bytes);
    expect(listing(layer.path)).toBe(listing(source));
  });

  test.each([
    ['gnu', 'oldgnu'],
    ['0.0', 'posix'],
    ['0.1', 'posix'],
    ['1.0', 'posix'],
  ])('sparse files: %s', async (version, format) => {
    using dir = scratch();
    const source = join(dir.path, 'source');
    mkdirSync(source);
    const path = join(source, 'sparse');
    writeFileSync(path, 'start');
    // Six islands of data: more than an old GNU header holds.
    for (let island = 1; island <= 30; island += 1) {
      execFileSync('dd', ['if=/dev/zero', `of=${path}`, 'bs=1', `seek=${island * 300_000}`, 'count=0', 'status=none']);
      execFileSync('sh', [
        '-c',
        `printf island${island} | dd of=${path} bs=1 seek=${island * 300_000} conv=notrunc status=none`,
      ]);
    }
    truncateSync(path, 20_000_000);
    const flags = version === 'gnu' ? [] : [`--sparse-version=${version}`];
    const bytes = execFileSync('tar', ['-cS', `--format=${format}`, ...flags, '-C', source, 'sparse'], {
      maxBuffer: 1e8,
    });
    expect(bytes.length).toBeLessThan(1_000_000);
    const layer = await unpack(dir.path, bytes);
    const made = join(layer.path, 'sparse');
    expect(statSync(made).size).toBe(20_000_000);
    expect(statSync(made).blocks * 512).toBeLessThan(1_000_000);
    expect(readFileSync(made).equals(readFileSync(path))).toBe(true);
    expect(existsSync(join(layer.path, 'GNUSparseFile.0'))).toBe(false);
  });
});
