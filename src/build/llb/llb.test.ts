import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { type Definition, MountType, NetMode, type Op, OpSchema, SourceInfoSchema } from '../../protocol/index.ts';
import {
  cleanPath,
  diff,
  exec,
  file,
  git,
  image,
  LaterOutput,
  local,
  marshal,
  merge,
  type Output,
  outputOf,
} from './index.ts';

const linux = { os: 'linux', architecture: 'amd64' };
const debian = () => image('docker.io/library/debian:stable', { platform: linux });

const opsOf = (definition: Definition): Op[] => definition.def.map((bytes) => fromBinary(OpSchema, bytes));
const headOf = (definition: Definition): string => opsOf(definition).at(-1)!.inputs[0]!.digest;

const step = (root: Output | undefined, command: string, rest: Partial<Parameters<typeof exec>[0]> = {}) =>
  exec({
    root,
    args: ['/bin/sh', '-c', command],
    env: new Map([['PATH', '/bin']]),
    directory: '/',
    user: '',
    network: NetMode.UNSET,
    platform: linux,
    ...rest,
  });

test('inputs stand before what they go into, each operation once, and the last names the result', () => {
  const base = debian();
  const left = step(base, 'left').root;
  const right = step(base, 'right').root;
  const definition = marshal(merge([left, right]), linux);
  const ops = opsOf(definition);
  expect(ops.map(({ op }) => op.case)).toEqual(['source', 'exec', 'exec', 'merge', undefined]);
  const digests = Object.keys(definition.metadata);
  ops.forEach((op, i) => {
    for (const { digest } of op.inputs) expect(digests.indexOf(digest)).toBeLessThan(i);
  });
  expect(headOf(definition)).toBe(digests[3]);
});

test('equal graphs give equal bytes, and names take no part in digests', () => {
  const make = (name: string) => marshal(file(debian(), [{ kind: 'mkdir', path: '/a', mode: 0o755 }], { name }), linux);
  expect(make('one').def).toEqual(make('two').def);
  expect(make('one').metadata[headOf(make('one'))]!.description).toEqual({ 'llb.customname': 'one' });
});

// As BuildKit's client writes llb.Image('docker.io/library/debian:stable', llb.LinuxAmd64): inputs, source, platform, constraints.
test('an image source has the bytes of the protocol', () => {
  const [source] = marshal(debian(), linux).def;
  const text = 'docker-image://docker.io/library/debian:stable';
  const expected = Buffer.concat([
    Buffer.from([0x1a, text.length + 2, 0x0a, text.length]),
    Buffer.from(text),
    Buffer.from([0x52, 0x0e, 0x0a, 0x05]),
    Buffer.from('amd64'),
    Buffer.from([0x12, 0x05]),
    Buffer.from('linux'),
    Buffer.from([0x5a, 0x00]),
  ]);
  expect(Buffer.from(source!)).toEqual(expected);
});

test('attributes of a source are in the order of their names', () => {
  const output = local('context', { sessionID: 's', sharedKeyHint: 'h', followPaths: ['b', 'a'], differ: 'none' });
  const [op] = opsOf(marshal(output, linux));
  expect(op!.op).toMatchObject({ case: 'source', value: { identifier: 'local://context' } });
  const attributes = (op!.op.value as { attrs: Record<string, string> }).attrs;
  expect(Object.keys(attributes)).toEqual([
    'local.differ',
    'local.followpaths',
    'local.session',
    'local.sharedkeyhint',
  ]);
  expect(attributes['local.followpaths']).toBe('["b","a"]');
  expect(op!.platform).toBeUndefined();
});

test('a git source is named by host, path, ref and folder', () => {
  const remote = { url: 'ssh://git@example.com/a/b.git', host: 'example.com', path: '/a/b.git', isSsh: true };
  const [op] = opsOf(marshal(git(remote, { ref: 'main', subdirectory: 'docs' }), linux));
  expect(op!.op.value).toMatchObject({
    identifier: 'git://example.com/a/b.git#main:docs',
    attrs: { 'git.mountsshsock': 'default', 'git.fullurl': remote.url },
  });
});

test('mounts are in the order of their targets; equal sources are one input; only what is written is an output', () => {
  const base = debian();
  const { root, mounts } = step(base, 'x', {
    mounts: [
      { target: '/z', source: base, isReadOnly: true },
      { target: '/cache', source: undefined, cache: { id: 'apt', sharing: 'locked' } },
      { target: '/a', source: undefined },
    ],
    secrets: [{ id: 'key', target: '/run/secrets/key', env: 'KEY', uid: 0, gid: 0, mode: 0o400, isOptional: true }],
    ssh: [{ id: 'default', target: undefined, uid: 0, gid: 0, mode: 0o600, isOptional: false }],
  });
  expect([root.index, ...mounts.map((mount) => mount?.index)]).toEqual([0, undefined, undefined, 1]);
  const op = opsOf(marshal(root, linux))[1]!;
  expect(op.inputs).toHaveLength(1);
  if (op.op.case !== 'exec') throw new Error('want an exec');
  expect(op.op.value.mounts.map(({ dest, input, output, mountType }) => [dest, input, output, mountType])).toEqual([
    ['/', 0n, 0n, MountType.BIND],
    ['/a', -1n, 1n, MountType.BIND],
    ['/cache', -1n, -1n, MountType.CACHE],
    ['/z', 0n, -1n, MountType.BIND],
    ['/run/secrets/key', -1n, 0n, MountType.SECRET],
    ['/run/buildkit/ssh_agent.0', -1n, 0n, MountType.SSH],
  ]);
  expect(op.op.value.secretenv).toMatchObject([{ ID: 'key', name: 'KEY', optional: true }]);
  expect(op.op.value.meta!.env).toEqual(['PATH=/bin', 'SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0']);
});

test('file actions take each other’s results, and copies their sources', () => {
  const base = debian();
  const context = local('context', { sessionID: 's' });
  const output = file(base, [
    { kind: 'mkdir', path: '/a', mode: 0o755, owner: { user: 'app', group: 5 } },
    { kind: 'copy', from: context, source: '/x', destination: '/a/', mode: 'u+x' },
    { kind: 'copy', from: base, source: '/etc/hosts', destination: '/b' },
  ]);
  const op = opsOf(marshal(output, linux)).at(-2)!;
  expect(op.platform).toBeUndefined();
  if (op.op.case !== 'file') throw new Error('want a file operation');
  expect(op.op.value.actions.map(({ input, secondaryInput, output }) => [input, secondaryInput, output])).toEqual([
    [0n, -1n, -1n],
    [2n, 1n, -1n],
    [3n, 0n, 0n],
  ]);
  expect(op.op.value.actions[0]!.action.value).toMatchObject({
    owner: { user: { user: { value: { name: 'app', input: 0n } } }, group: { user: { case: 'byID', value: 5 } } },
    timestamp: -1n,
  });
  expect(op.op.value.actions[1]!.action.value).toMatchObject({ dest: '/a/', mode: 0, modeStr: 'u+x' });
});

test.each([
  ['a/b', '/a/b', '/a/b'],
  ['/a/../b/', '/b', '/b/'],
  ['/a/.', '/a', '/a/.'],
  ['/', '/', '/'],
  ['.', '/', '/'],
  ['', '/', '/'],
  ['/.', '/', '/.'],
  ['../../x', '/x', '/x'],
])('cleanPath(%j)', (path, want, kept) => {
  expect(cleanPath(path, false)).toBe(want);
  expect(cleanPath(path, true)).toBe(kept);
});

test('the empty tree has no operations, and merging with it makes none', () => {
  expect(marshal(undefined, linux).def).toEqual([]);
  expect(merge([undefined, undefined])).toBeUndefined();
  const base = debian();
  expect(merge([undefined, base])).toBe(base);
  expect(diff(undefined, base)).toBe(base);
});

test('equal operations are one, with all that is said about them; a place is kept for each file', () => {
  const source = { info: create(SourceInfoSchema, { filename: 'Dockerfile', data: Buffer.from('x') }) };
  const at = (line: number) => ({ source, ranges: [{ start: { line, character: 0 }, end: { line, character: 0 } }] });
  const one = image('docker.io/library/a:1', { platform: linux }, { name: 'one', location: at(1) });
  const two = image('docker.io/library/a:1', { platform: linux }, { ignoresCache: true, location: at(2) });
  const definition = marshal(merge([one, step(two, 'x').root]), linux);
  expect(definition.def).toHaveLength(4);
  const [digest] = Object.keys(definition.metadata);
  expect(definition.metadata[digest!]).toMatchObject({ ignoreCache: true, description: { 'llb.customname': 'one' } });
  expect(definition.Source!.infos).toHaveLength(1);
  expect(definition.Source!.locations[digest!]!.locations).toMatchObject([
    { sourceIndex: 0, ranges: [{ start: { line: 2 } }] },
  ]);
});

test('a definition from elsewhere keeps its digests inside another', () => {
  const inner = marshal(step(debian(), 'inner').root, linux);
  const outer = marshal(step(outputOf(inner), 'outer').root, { os: 'linux', architecture: 'arm64' });
  expect(Object.keys(outer.metadata)).toEqual(expect.arrayContaining(Object.keys(inner.metadata).slice(0, 2)));
  expect(opsOf(outer)[2]!.inputs[0]!.digest).toBe(headOf(inner));
  expect(outputOf(marshal(undefined, linux))).toBeUndefined();
});

test('a broken definition is refused', () => {
  const dangling = toBinary(OpSchema, create(OpSchema, { inputs: [{ digest: 'sha256:0', index: 0n }] }));
  const broken = (def: Uint8Array[]) => ({ ...marshal(undefined, linux), def });
  expect(() => outputOf(broken([dangling]))).toThrow(/no operation before it has the digest/);
  expect(() => outputOf(broken([Buffer.from([0xff, 0xff])]))).toThrow(/cannot be decoded/);
});

test('an output may be set last', () => {
  const later = new LaterOutput();
  const copied = file(undefined, [{ kind: 'copy', from: later, source: '/a', destination: '/a' }]);
  expect(() => marshal(copied, linux)).toThrow(/before it is set/);
  later.set(local('context', { sessionID: 's', followPaths: ['a'] }));
  expect(opsOf(marshal(copied, linux)).map(({ op }) => op.case)).toEqual(['source', 'file', undefined]);
});

test('a graph deeper than a stack is written', () => {
  let output: Output = debian();
  for (let i = 0; i < 20_000; i += 1) output = file(output, [{ kind: 'mkdir', path: `/${i}`, mode: 0o755 }]);
  expect(marshal(output, linux).def).toHaveLength(20_002);
});

test('a graph whose operations together are too large is refused while it is written', () => {
  const env = new Map([['A', 'x'.repeat(1 << 20)]]);
  let root: Output | undefined = debian();
  for (let at = 0; at < 100; at += 1) root = step(root, String(at), { env }).root;
  expect(() => marshal(root, linux)).toThrow(/definition of the build has over 67108864 bytes/);
});
