import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { hostPlatform } from '../image/index.ts';
import { emulatorFor, runnablePlatforms } from './platforms.ts';

const arm64 = '7f454c460201010000000000000000000200b700';
const s390x = '7f454c4602020100000000000000000000020016';
const anyType = 'ffffffffffffff00fffffffffffffffffeffffff';
const anyTypeBig = 'ffffffffffffff00fffffffffffffffffffeffff';

function folderOf(entries: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'tare-binfmt-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries({ status: 'enabled\n', register: '', ...entries })) {
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

const entry = (magic: string, mask: string, { flags = '', interpreter = '/bin/sh', state = 'enabled' } = {}) =>
  `${state}\ninterpreter ${interpreter}\nflags: ${flags}\noffset 0\nmagic ${magic}\nmask ${mask}\n`;

test.each([
  { what: 'a program of the host', entries: { any: entry(arm64, anyType) }, want: '/bin/sh' },
  {
    what: 'a program that the kernel has open',
    entries: { any: entry(arm64, anyType, { flags: 'OCF' }) },
    want: undefined,
  },
  {
    what: 'a program that is nowhere',
    entries: { any: entry(arm64, anyType, { interpreter: '/no/such' }) },
    want: undefined,
  },
])('arm64 runs with $what', ({ entries, want }) => {
  expect(emulatorFor('arm64', 'amd64', folderOf(entries))).toBe(want);
});

test.each<{ what: string; entries: Record<string, string>; says: RegExp }>([
  { what: 'no entry', entries: {}, says: /qemu-user-static and binfmt-support\);/ },
  { what: 'one of another machine', entries: { a: entry(s390x, anyTypeBig) }, says: /linux\/arm64 cannot run/ },
  {
    what: 'one that is off',
    entries: { a: entry(arm64, anyType, { state: 'disabled' }) },
    says: /cannot run on this host/,
  },
  { what: 'all are off', entries: { a: entry(arm64, anyType), status: 'disabled\n' }, says: /cannot run on this host/ },
  {
    what: 'one by the name of files',
    entries: { a: 'enabled\ninterpreter /bin/sh\nflags: \nextension .arm\n' },
    says: /cannot run/,
  },
])('arm64 is refused with $what', ({ entries, says }) => {
  expect(() => emulatorFor('arm64', 'amd64', folderOf(entries))).toThrow(says);
});

test('where the file system is not mounted, it is said', () => {
  expect(() => emulatorFor('arm64', 'amd64', '/no/such')).toThrow(/and mount binfmt_misc at \/no\/such/);
});

test('what a processor runs as well needs no emulator', () => {
  expect(emulatorFor('386', 'amd64', '/no/such')).toBeUndefined();
  expect(emulatorFor('arm', 'arm64', '/no/such')).toBeUndefined();
});

test('the host comes first, then what is emulated, by whatever name', () => {
  const { architecture } = hostPlatform();
  const found = runnablePlatforms(folderOf({ 'my-own-name': entry(s390x, anyTypeBig) }));
  expect(found[0]!.architecture).toBe(architecture);
  expect(found.map((one) => one.architecture)).toContain('s390x');
  expect(found.map((one) => one.architecture)).not.toContain('riscv64');
});

test('what a kernel says of its entries is understood', () => {
  // A user namespace has entries of its own, which nobody else sees and which end with it.
  const folder = mkdtempSync(join(tmpdir(), 'tare-binfmt-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  copyFileSync('/bin/busybox', join(folder, 'emulator'));
  const escaped = (hex: string) => hex.replaceAll(/../g, (byte) => `\\x${byte}`);
  writeFileSync(join(folder, 'entry'), `:ours:M::${escaped(s390x)}:${escaped(anyTypeBig)}:${folder}/emulator:F`);
  const script = `mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && cat ${folder}/entry > /proc/sys/fs/binfmt_misc/register &&
    exec ${process.execPath} --input-type=module -e '
      const { runnablePlatforms, emulatorFor } = await import(process.argv[1]);
      console.log(JSON.stringify([runnablePlatforms().map((one) => one.architecture), String(emulatorFor("s390x", "amd64"))]));
    ' ${import.meta.dirname}/platforms.ts`;
  const said = execFileSync('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', script], {
    encoding: 'utf8',
  });
  const [architectures, emulator] = JSON.parse(said) as [string[], string];
  expect(architectures).toContain('s390x');
  expect(emulator).toBe('undefined');
});
