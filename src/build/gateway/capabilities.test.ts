import { expect, test } from 'vitest';
import { NetMode } from '../../protocol/index.ts';
import * as llb from '../llb/index.ts';
import { graphCapabilities } from './capabilities.ts';

test('whatever our own graphs need, clients and other frontends are told of', () => {
  const platform = { os: 'linux', architecture: 'amd64' };
  const more = { uid: 0, gid: 0, mode: 0o400, isOptional: false };
  const source = llb.local('context', {
    ...{ sessionID: 's', sharedKeyHint: 'x', includePatterns: ['a'], excludePatterns: ['b'], followPaths: ['c'] },
  });
  const base = llb.image('docker.io/library/a:b', { platform, resolveMode: 'pull' });
  const { root } = llb.exec({
    ...{ root: base, args: ['x'], env: new Map(), directory: '/', user: '', cgroupParent: 'p', network: NetMode.NONE },
    ...{ isInsecure: true, platform, proxy: { http: 'x', https: '', ftp: '', no: '', all: '' } },
    mounts: [
      { target: '/m', source, selector: '/s' },
      { target: '/c', source: undefined, cache: { id: 'c', sharing: 'locked' } },
      { target: '/t', source: undefined, tmpfs: { sizeBytes: 1 } },
    ],
    secrets: [{ id: 's', target: '/s', env: 'S', ...more }],
    ssh: [{ id: 'd', target: undefined, ...more }],
    ulimits: [{ name: 'nofile', soft: 1n, hard: 1n }],
    devices: [{ name: 'a.b/c=d', isOptional: true }],
  });
  const copied = llb.file(root, [
    {
      ...{ kind: 'copy', from: source, source: '/', destination: '/x', mode: 'u+x' },
      ...{ includePatterns: ['a'], requiredPaths: ['/a'] },
    },
    { kind: 'symlink', target: '/a', path: '/b' },
  ]);
  const others = [
    llb.git(
      { url: 'git@h:p', host: 'h', path: 'p', isSsh: true },
      {
        ...{ keepsGitDirectory: true, checksum: 'a'.repeat(40), skipsSubmodules: true },
      },
    ),
    llb.http('https://h/p', { filename: 'p', checksum: 'sha256:x' }),
    llb.ociLayout('x', { sessionID: 's', storeID: 't', platform }),
  ];
  const whole = llb.merge([copied, llb.diff(base, root), ...others]);
  const { metadata } = llb.marshal(whole, platform);
  const needed = new Set(Object.values(metadata).flatMap(({ caps }) => Object.keys(caps)));
  const told = new Set(graphCapabilities().map(({ ID }) => ID));
  expect([...needed].filter((name) => !told.has(name))).toEqual([]);
  expect(needed.size).toBeGreaterThan(35);
});
