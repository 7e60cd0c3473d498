import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { kindOf } from '../errors/index.ts';
import { resolveUser, resolveUserIn } from './user.ts';

const passwd = [
  'root:x:0:0:root:/root:/bin/sh',
  '# a comment:x:5:5::/:',
  'foo:x:1000:1001:Foo,,,:/home/foo:/bin/sh',
  'homeless:x:1002:1002:::',
  'broken',
  'negative:x:-1:5::/:',
  'huge:x:4294967295:5::/:',
  '2000:x:3000:3000::/home/digits:/bin/sh',
  'foo:x:9999:9999::/second:/bin/sh',
  '',
].join('\n');
const group = 'root:x:0:\nfoo:x:1001:\nbar:x:55:foo,root\nbaz:x:56:foo\nqux:x:57\nbad:x:x:foo\n';

const files: Record<string, string> = { 'etc/passwd': passwd, 'etc/group': group };
const read = (path: string) => (files[path] === undefined ? undefined : Buffer.from(files[path]));

test.each([
  { user: '', uid: 0, gids: [0, 55], home: '/root' },
  { user: 'root', uid: 0, gids: [0, 55], home: '/root' },
  { user: 'foo', uid: 1000, gids: [1001, 55, 56], home: '/home/foo' },
  { user: '1000', uid: 1000, gids: [1001, 55, 56], home: '/home/foo' },
  { user: 'foo:baz', uid: 1000, gids: [56], home: '/home/foo' },
  { user: 'foo:77', uid: 1000, gids: [77], home: '/home/foo' },
  { user: '4242', uid: 4242, gids: [0], home: '/' },
  { user: '4242:77', uid: 4242, gids: [77], home: '/' },
  { user: ':bar', uid: 0, gids: [55], home: '/root' },
  { user: 'homeless', uid: 1002, gids: [1002], home: '/' },
  // A number is an id, whatever the image calls its users.
  { user: '2000', uid: 2000, gids: [0], home: '/' },
])('user $user is $uid', ({ user, uid, gids, home }) => {
  expect(resolveUser(read, user)).toEqual({ uid, gid: gids[0], additionalGids: gids, home });
});

test('further groups by name and number, each once', () => {
  expect(resolveUser(read, 'foo', ['baz', '77', '77', 'foo']).additionalGids).toEqual([1001, 55, 56, 77]);
});

test.each([
  ['nobody', [], 'unable to find user nobody: no matching entries in passwd file'],
  ['negative', [], 'unable to find user negative: no matching entries in passwd file'],
  ['huge', [], 'unable to find user huge: no matching entries in passwd file'],
  ['broken', [], 'unable to find user broken: no matching entries in passwd file'],
  ['foo:nope', [], 'unable to find group nope: no matching entries in group file'],
  ['foo', ['nope'], 'unable to find group nope: no matching entries in group file'],
  ['foo:bad', [], 'unable to find group bad: no matching entries in group file'],
  ['-1', [], 'uids and gids must be in range 0-2147483647, not -1'],
  ['99999999999', [], 'uids and gids must be in range 0-2147483647'],
  ['0:4294967295', [], 'uids and gids must be in range 0-2147483647'],
])('%s with %j is refused', (user, groups, message) => {
  let thrown: unknown;
  try {
    resolveUser(read, user, groups);
  } catch (error) {
    thrown = error;
  }
  expect(String(thrown)).toContain(message);
  expect(kindOf(thrown)).toBe('InvalidArgument');
});

test('an image without the files has only numbers', () => {
  const none = () => undefined;
  expect(resolveUser(none, '')).toEqual({ uid: 0, gid: 0, additionalGids: [0], home: '/' });
  expect(resolveUser(none, '5:6')).toEqual({ uid: 5, gid: 6, additionalGids: [6], home: '/' });
  expect(() => resolveUser(none, 'root')).toThrow('unable to find user root');
});

describe('in a hostile image', () => {
  const root = mkdtempSync(join(tmpdir(), 'tare-user-'));
  const path = join(root, 'etc/passwd');
  afterAll(() => rmSync(root, { recursive: true }));
  beforeEach(() => {
    rmSync(join(root, 'etc'), { recursive: true, force: true });
    mkdirSync(join(root, 'etc'), { recursive: true });
  });

  test('a link stays inside the root', () => {
    writeFileSync(join(root, 'accounts'), 'inside:x:7:7::/in:\n');
    symlinkSync('/accounts', path);
    expect(resolveUserIn(root, 'inside').uid).toBe(7);
    rmSync(path);
    symlinkSync('../../../../../../../../accounts', path);
    expect(resolveUserIn(root, 'inside').uid).toBe(7);
  });

  test('the host’s files are out of reach', () => {
    symlinkSync('../../../../../../../../etc/passwd', path);
    expect(() => resolveUserIn(root, 'root')).toThrow('unable to find user root');
    rmSync(path);
    symlinkSync('/proc/self/root/etc/passwd', path);
    expect(() => resolveUserIn(root, 'root')).toThrow('unable to find user root');
  });

  test.each([
    ['a FIFO', (at: string) => execFileSync('mkfifo', [at])],
    ['a device', (at: string) => execFileSync('mknod', [at, 'c', '1', '5'])],
    ['a folder', (at: string) => mkdirSync(at)],
    ['a loop', (at: string) => symlinkSync('passwd', at)],
  ])('%s is not read', (_name, make) => {
    make(path);
    expect(resolveUserIn(root, '5').uid).toBe(5);
    expect(() => resolveUserIn(root, 'root')).toThrow('unable to find user root');
  });

  test('a file of more than 1 MiB is refused', () => {
    writeFileSync(path, 'root:x:0:0::/root:\n');
    truncateSync(path, 1024 * 1024);
    expect(resolveUserIn(root, 'root').uid).toBe(0);
    truncateSync(path, 1024 * 1024 + 1);
    expect(() => resolveUserIn(root, 'root')).toThrow(/passwd is longer than 1048576 bytes/);
  });
});
