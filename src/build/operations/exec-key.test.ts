import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { ExecOpSchema, MountContentCache, type MountSchema, MountType, NetMode } from '../../protocol/index.ts';
import { execDigest, inputUses } from './exec-key.ts';

const platform = { os: 'linux', architecture: 'amd64', variant: '' };
const root = { input: 0n, dest: '/', output: 0n };

type Op = MessageInitShape<typeof ExecOpSchema>;
type MountInit = MessageInitShape<typeof MountSchema>;
const digest = (op: Op = {}, on = platform): string =>
  execDigest(create(ExecOpSchema, { meta: { args: ['true'], cwd: '/' }, mounts: [root], ...op } as Op), on);

test.each<{ what: string; op: Op }>([
  { what: 'arguments', op: { meta: { args: ['false'], cwd: '/' } } },
  { what: 'variables', op: { meta: { args: ['true'], cwd: '/', env: ['A=b'] } } },
  { what: 'the working folder', op: { meta: { args: ['true'], cwd: '/a' } } },
  { what: 'the user', op: { meta: { args: ['true'], cwd: '/', user: 'app' } } },
  { what: 'names of hosts', op: { meta: { args: ['true'], cwd: '/', extraHosts: [{ Host: 'a', IP: '192.0.2.1' }] } } },
  { what: 'the network', op: { network: NetMode.NONE } },
  { what: 'mounts', op: { mounts: [root, { input: -1n, dest: '/t', output: -1n, mountType: MountType.TMPFS }] } },
  { what: 'secrets by name', op: { secretenv: [{ ID: 'a', name: 'A' }] } },
])('the key of a step knows $what', ({ op }) => expect(digest(op)).not.toBe(digest()));

test('the key of a step knows the platform', () => {
  expect(digest({}, { ...platform, architecture: 'arm64' })).not.toBe(digest());
});

test('proxies, addresses of hosts and what mounts select take no part in it', () => {
  const meta = { args: ['true'], cwd: '/' };
  expect(digest({ meta: { ...meta, proxyEnv: { httpProxy: 'http://proxy' } } })).toBe(digest());
  const host = (IP: string) => digest({ meta: { ...meta, extraHosts: [{ Host: 'a', IP }] } });
  expect(host('192.0.2.1')).toBe(host('192.0.2.2'));
  const mount = (selector: string) =>
    digest({ mounts: [root, { input: 1n, dest: '/m', output: -1n, readonly: true, selector }] });
  expect(mount('/a')).toBe(mount('/b'));
});

const use = (mount: MountInit) => inputUses(create(ExecOpSchema, { mounts: [root, mount] }).mounts, 2)[1];

test.each([
  { what: 'read only', mount: { input: 1n, dest: '/m', output: -1n, readonly: true }, byContent: true },
  { what: 'what is thrown away', mount: { input: 1n, dest: '/m', output: -1n }, byContent: true },
  { what: 'a result of all of it', mount: { input: 1n, dest: '/m', output: 1n }, byContent: true },
  { what: 'a result of a part', mount: { input: 1n, dest: '/m', output: 1n, selector: '/a' }, byContent: false },
  {
    ...{ what: 'told not to', byContent: false },
    mount: { input: 1n, dest: '/m', output: -1n, readonly: true, contentCache: MountContentCache.OFF },
  },
])('by content or not: $what', ({ mount, byContent }) => expect(use(mount)).toMatchObject({ byContent }));

test('the root never counts by its content, nor what no mount names', () => {
  expect(inputUses(create(ExecOpSchema, { mounts: [{ ...root, readonly: true }] }).mounts, 2)).toEqual([
    { selectors: ['/'], paths: [], byContent: false },
    { selectors: [], paths: [], byContent: false },
  ]);
});

test('parts that lie in others are left out; all of it hides its parts', () => {
  const read = { input: 0n, output: -1n, readonly: true };
  const uses = (...selectors: string[]) =>
    inputUses(
      create(ExecOpSchema, { mounts: selectors.map((selector, index) => ({ ...read, dest: `/${index}`, selector })) })
        .mounts,
      1,
    )[0]!.paths;
  expect(uses('/b', 'a/../a', '/a/x', '/ab')).toEqual(['/a', '/ab', '/b']);
  expect(uses('/b', '')).toEqual([]);
});

test('an input that there is not is refused', () => {
  expect(() => inputUses(create(ExecOpSchema, { mounts: [{ input: 3n, dest: '/' }] }).mounts, 1)).toThrow(
    /missing input 3/,
  );
});
