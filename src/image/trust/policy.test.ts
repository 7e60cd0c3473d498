import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../storage/index.ts';
import { parseReference } from '../reference.ts';
import { parsePolicy } from './policy-document.ts';
import { acceptsEverything, findPolicyFile } from './policy-path.ts';
import { requirementsFor, scopesOf } from './policy-scope.ts';
import type { IdentityRule } from './requirement.ts';
import { SignaturePolicy } from './signature-policy.ts';
import { identityMismatch } from './signed-identity.ts';

const digest = `sha256:${'a'.repeat(64)}` as Digest;
const text = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const parse = (value: unknown) => parsePolicy(text(value), 'policy');
const accept = [{ type: 'insecureAcceptAnything' }];
const key = { keyData: Buffer.from('key').toString('base64') };
const required = (requirement: object) => ({ default: [requirement] });

describe('scopes', () => {
  test.each([
    {
      name: 'docker.io/library/busybox:1.36',
      want: [
        ...['docker.io/library/busybox:1.36', 'docker.io/library/busybox', 'docker.io/library', 'docker.io'],
        ...['*.io', ''],
      ],
    },
    {
      name: `registry.example.com:5000/a/b/c@${digest}`,
      want: [
        ...[`registry.example.com:5000/a/b/c@${digest}`, 'registry.example.com:5000/a/b/c'],
        ...['registry.example.com:5000/a/b', 'registry.example.com:5000/a', 'registry.example.com:5000'],
        ...['*.example.com', '*.com', ''],
      ],
    },
    { name: 'localhost/x:1', want: ['localhost/x:1', 'localhost/x', 'localhost', ''] },
  ])('docker: $name', ({ name, want }) => {
    expect(scopesOf({ transport: 'docker', reference: parseReference(name) })).toEqual(want);
  });

  test.each([
    { path: '/srv/images/a:1', want: ['/srv/images/a:1', '/srv/images/a', '/srv/images', '/srv', ''] },
    { path: '/srv/images', want: ['/srv/images', '/srv', ''] },
  ])('oci: $path', ({ path, want }) => expect(scopesOf({ transport: 'oci', path })).toEqual(want));

  const policy = parse({
    default: [{ type: 'reject' }],
    transports: {
      docker: {
        'docker.io/library/busybox:1': accept,
        'docker.io/library': [{ type: 'reject' }],
        '*.example.com': accept,
        'a.example.com': [{ type: 'reject' }],
      },
      'docker-archive': { '': accept },
      oci: { '/srv/good': accept },
    },
  });
  test.each([
    { image: { reference: 'busybox:1' }, scope: 'docker "docker.io/library/busybox:1"' },
    { image: { reference: 'busybox:2' }, scope: 'docker "docker.io/library"' },
    { image: { reference: `busybox:1@${digest}` }, scope: 'docker "docker.io/library"' },
    { image: { reference: 'docker.io/librarian/busybox:1' }, scope: 'default' },
    { image: { reference: 'b.example.com:5000/x:1' }, scope: 'docker "*.example.com"' },
    { image: { reference: 'c.b.example.com/x:1' }, scope: 'docker "*.example.com"' },
    { image: { reference: 'a.example.com/x:1' }, scope: 'docker "a.example.com"' },
    { image: { reference: 'example.com/x:1' }, scope: 'default' },
    { image: { transport: 'docker-archive' }, scope: 'docker-archive ""' },
    { image: { transport: 'oci-archive' }, scope: 'default' },
    { image: { transport: 'oci', path: '/srv/good/a:1' }, scope: 'oci "/srv/good"' },
    { image: { transport: 'oci', path: '/srv/goods' }, scope: 'default' },
  ])('$image is in $scope', ({ image, scope }) => {
    const {
      reference,
      transport = 'docker',
      path,
    } = image as { reference?: string; transport?: string; path?: string };
    const origin = { transport, path, ...(reference === undefined ? {} : { reference: parseReference(reference) }) };
    expect(requirementsFor(policy, origin).scope).toBe(scope);
  });
});

describe('signed identities', () => {
  const matchExact: IdentityRule = { type: 'matchExact' };
  const orExact: IdentityRule = { type: 'matchRepoDigestOrExact' };
  const repository: IdentityRule = { type: 'matchRepository' };
  const remap: IdentityRule = { type: 'remapIdentity', prefix: 'mirror:5000/vendor', signedPrefix: 'vendor.example' };
  const byDigest = `a.example/b@${digest}`;
  test.each([
    { rule: matchExact, image: 'a.example/b:1', signed: 'a.example/b:1', fits: true },
    { rule: matchExact, image: 'a.example/b:1', signed: 'a.example/b:2', fits: false },
    { rule: matchExact, image: 'a.example/b:1', signed: 'a.example/b', fits: false },
    { rule: matchExact, image: byDigest, signed: 'a.example/b:1', fits: false },
    { rule: matchExact, image: byDigest, signed: byDigest, fits: false },
    { rule: matchExact, image: 'busybox:1', signed: 'index.docker.io/library/busybox:1', fits: true },
    { rule: orExact, image: 'a.example/b:1', signed: 'a.example/b:1', fits: true },
    { rule: orExact, image: 'a.example/b:1', signed: 'a.example/b:2', fits: false },
    { rule: orExact, image: byDigest, signed: 'a.example/b:2', fits: true },
    { rule: orExact, image: byDigest, signed: 'a.example/c:2', fits: false },
    { rule: repository, image: 'a.example/b:1', signed: 'a.example/b', fits: true },
    { rule: repository, image: 'a.example/b:1', signed: 'a.example/c:1', fits: false },
    { rule: repository, image: undefined, signed: 'a.example/c:1', fits: false },
    {
      rule: { type: 'exactReference', dockerReference: 'a.example/b:1' } as const,
      image: 'mirror/b:9',
      signed: 'a.example/b:1',
      fits: true,
    },
    {
      rule: { type: 'exactReference', dockerReference: 'a.example/b:1' } as const,
      image: undefined,
      signed: 'a.example/b:2',
      fits: false,
    },
    {
      rule: { type: 'exactRepository', dockerRepository: 'a.example/b' } as const,
      image: undefined,
      signed: 'a.example/b:2',
      fits: true,
    },
    { rule: remap, image: 'mirror:5000/vendor/p/x:1', signed: 'vendor.example/p/x:1', fits: true },
    { rule: remap, image: 'mirror:5000/vendor/p/x:1', signed: 'mirror:5000/vendor/p/x:1', fits: false },
    { rule: remap, image: 'mirror:5000/vendors/x:1', signed: 'vendor.examples/x:1', fits: false },
    { rule: remap, image: 'other/x:1', signed: 'other/x:1', fits: true },
    { rule: matchExact, image: 'a.example/b:1', signed: '../etc/passwd', fits: false },
    { rule: matchExact, image: 'a.example/b:1', signed: undefined, fits: false },
    { rule: { type: 'matchDigestOnly' } as const, image: 'a.example/b:1', signed: undefined, fits: true },
  ])('$rule.type: $signed for $image: $fits', ({ rule, image, signed, fits }) => {
    const mismatch = identityMismatch(rule, image === undefined ? undefined : parseReference(image), signed);
    expect(mismatch === undefined).toBe(fits);
  });
});

describe('policy.json', () => {
  test.each([
    { what: 'nothing', policy: '', want: /not valid JSON/ },
    { what: 'no default', policy: { transports: {} }, want: /"default" is missing/ },
    { what: 'an empty list', policy: { default: [] }, want: /must not be empty/ },
    { what: 'an unknown field', policy: { default: accept, defaults: accept }, want: /unknown field "defaults"/ },
    {
      what: 'a field twice',
      policy: '{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}',
      want: /"default" stands twice/,
    },
    {
      what: 'a field twice, escaped',
      policy: '{"default":[{"type":"reject"}],"d\\u0065fault":[]}',
      want: /"default" stands twice/,
    },
    { what: 'an unknown requirement', policy: required({ type: 'accept' }), want: /unknown requirement "accept"/ },
    {
      what: 'a requirement with more',
      policy: required({ type: 'reject', keyPath: '/x' }),
      want: /unknown field "keyPath"/,
    },
    { what: 'a requirement that is a text', policy: { default: ['reject'] }, want: /want an object/ },
    {
      what: 'signedBy without key',
      policy: required({ type: 'signedBy', keyType: 'GPGKeys' }),
      want: /exactly one of/,
    },
    {
      what: 'signedBy with two',
      policy: required({ type: 'signedBy', keyType: 'GPGKeys', ...key, keyPath: '/x' }),
      want: /only one of/,
    },
    { what: 'another key type', policy: required({ type: 'signedBy', keyType: 'X509', ...key }), want: /want GPGKeys/ },
    {
      what: 'no base64',
      policy: required({ type: 'signedBy', keyType: 'GPGKeys', keyData: '%%' }),
      want: /want base64/,
    },
    { what: 'an empty keyPaths', policy: required({ type: 'sigstoreSigned', keyPaths: [] }), want: /it is empty/ },
    {
      what: 'an unknown identity',
      policy: required({ type: 'sigstoreSigned', ...key, signedIdentity: { type: 'any' } }),
      want: /unknown identity rule/,
    },
    {
      what: 'a reference without tag',
      policy: required({
        type: 'sigstoreSigned',
        ...key,
        signedIdentity: { type: 'exactReference', dockerReference: 'a/b' },
      }),
      want: /needs a tag/,
    },
    {
      what: 'a repository with a tag',
      policy: required({
        type: 'sigstoreSigned',
        ...key,
        signedIdentity: { type: 'exactRepository', dockerRepository: 'a/b:1' },
      }),
      want: /must have no tag/,
    },
    {
      what: 'a short prefix',
      policy: required({
        type: 'sigstoreSigned',
        ...key,
        signedIdentity: { type: 'remapIdentity', prefix: 'a/b', signedPrefix: 'c.example' },
      }),
      want: /fully expanded/,
    },
    {
      what: 'keys and fulcio',
      policy: required({
        type: 'sigstoreSigned',
        ...key,
        fulcio: { caPath: '/x', oidcIssuer: 'i', subjectEmail: 's' },
      }),
      want: /exactly one of/,
    },
    {
      what: 'fulcio without log',
      policy: required({ type: 'sigstoreSigned', fulcio: { caPath: '/x', oidcIssuer: 'i', subjectEmail: 's' } }),
      want: /fulcio needs/,
    },
    {
      what: 'fulcio without issuer',
      policy: required({ type: 'sigstoreSigned', trustedRootPath: '/x', fulcio: { subjectEmail: 's' } }),
      want: /exactly one of oidcIssuer/,
    },
    {
      what: 'two subjects',
      policy: required({
        type: 'sigstoreSigned',
        trustedRootPath: '/x',
        fulcio: { oidcIssuer: 'i', subjectEmail: 's', subjectRegExp: 's' },
      }),
      want: /exactly one of subjectEmail/,
    },
    {
      what: 'no regular expression',
      policy: required({
        type: 'sigstoreSigned',
        trustedRootPath: '/x',
        fulcio: { oidcIssuer: 'i', subjectRegExp: '(' },
      }),
      want: /subjectRegExp: Invalid/,
    },
    {
      what: 'pki without subject',
      policy: required({ type: 'sigstoreSigned', pki: { caRootsPath: '/x' } }),
      want: /subjectEmail or subjectHostname/,
    },
    {
      what: 'a relative path',
      policy: { default: accept, transports: { dir: { 'a/b': accept } } },
      want: /want an absolute path/,
    },
    {
      what: 'a path with dots',
      policy: { default: accept, transports: { oci: { '/a/../b': accept } } },
      want: /want the path \/b/,
    },
    {
      what: 'the root folder',
      policy: { default: accept, transports: { dir: { '/': accept } } },
      want: /use the scope ""/,
    },
    {
      what: 'a wildcard inside',
      policy: { default: accept, transports: { docker: { 'a*.example.com': accept } } },
      want: /wildcard/,
    },
    {
      what: 'a scope of archives',
      policy: { default: accept, transports: { 'docker-archive': { x: accept } } },
      want: /only the scope ""/,
    },
    {
      what: 'prototype keys',
      policy: '{"default":[{"type":"reject","__proto__":{}}]}',
      want: /unknown field "__proto__"/,
    },
    { what: 'a huge file', policy: `{"default":${' '.repeat(5 << 20)}[]}`, want: /at most/ },
    { what: 'deep nesting', policy: `{"default":${'['.repeat(100_000)}`, want: /not valid JSON/ },
  ])('refuses $what', ({ policy, want }) => {
    expect(() => parse(policy)).toThrow(want);
  });

  test('reads what it knows', () => {
    const policy = parse({
      default: [{ type: 'reject' }],
      transports: {
        docker: {
          'a.example': [
            { type: 'signedBy', keyType: 'GPGKeys', keyPaths: ['/a', '/b'] },
            { type: 'sigstoreSigned', keyDatas: [key.keyData], signedIdentity: { type: 'matchRepository' } },
            {
              type: 'sigstoreSigned',
              fulcio: { caData: key.keyData, oidcIssuer: 'https://issuer', subjectEmail: 'me@a.example' },
              rekorPublicKeyPath: '/log',
            },
            { type: 'sigstoreSigned', pki: { caRootsPath: '/roots', subjectHostname: 'a.example' } },
          ],
        },
        // Transports that nothing here uses may stand in a file that other tools share.
        atomic: { 'x.example': accept },
      },
    });
    expect(policy.transports.get('docker')!.get('a.example')).toMatchObject([
      { type: 'signedBy', keyring: { paths: ['/a', '/b'] }, signedIdentity: { type: 'matchRepoDigestOrExact' } },
      { keys: { datas: [Buffer.from('key')] }, signedIdentity: { type: 'matchRepository' } },
      { fulcio: { issuer: { is: 'https://issuer' }, subject: { is: 'me@a.example' } }, rekorKeys: { paths: ['/log'] } },
      { pki: { roots: { paths: ['/roots'] }, subjectHostname: 'a.example' } },
    ]);
  });
});

test('requirements: all must hold, and signatures are fetched only when one asks', async () => {
  const reference = parseReference('a.example/b:1');
  const subject = {
    origin: { transport: 'docker', reference },
    reference,
    manifests: [{ digest, bytes: async () => Buffer.alloc(0) }],
    signatures: async (): Promise<never> => {
      throw new Error('asked for signatures');
    },
  };
  const policy = (requirements: object[]) => SignaturePolicy.parse(text({ default: requirements }), '/etc/policy.json');
  expect(await policy([...accept, ...accept]).require(subject)).toEqual([]);
  await expect(policy([...accept, { type: 'reject' }]).require(subject)).rejects.toThrow(
    'image a.example/b:1 is refused by the signature policy /etc/policy.json, scope default: reject: it rejects every image',
  );
  const signed = policy([{ type: 'sigstoreSigned', ...key }]);
  await expect(signed.require(subject)).rejects.toThrow('asked for signatures');
});

describe('the file', () => {
  test('the configured one, else the user’s, else the system’s', () => {
    const home = mkdtempSync(join(tmpdir(), 'tare-policy-'));
    try {
      expect(findPolicyFile('/configured', home)).toBe('/configured');
      expect(findPolicyFile(undefined, home)).not.toBe(join(home, '.config/containers/policy.json'));
      mkdirSync(join(home, '.config/containers'), { recursive: true });
      writeFileSync(join(home, '.config/containers/policy.json'), '{}');
      expect(findPolicyFile(undefined, home)).toBe(join(home, '.config/containers/policy.json'));
    } finally {
      rmSync(home, { recursive: true });
    }
  });

  test.each([
    { policy: '{"default":[{"type":"insecureAcceptAnything"}]}', is: true },
    { policy: '{\n  "default": [\n    { "type": "insecureAcceptAnything" }\n  ]\n}\n', is: true },
    { policy: '{"default":[{"type":"insecure AcceptAnything"}]}', is: false },
    { policy: '{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}', is: false },
    { policy: '{"default":[{"type":"insecureAcceptAnything"},{"type":"reject"}]}', is: false },
    { policy: '{"default":[{"type":"insecureAcceptAnything"}],"transports":{}}', is: false },
    { policy: '', is: false },
  ])('$policy accepts everything: $is', ({ policy, is }) => {
    const folder = mkdtempSync(join(tmpdir(), 'tare-policy-'));
    try {
      writeFileSync(join(folder, 'policy.json'), policy);
      expect(acceptsEverything(join(folder, 'policy.json'))).toBe(is);
      expect(acceptsEverything(folder)).toBe(false);
      expect(acceptsEverything(join(folder, 'none'))).toBe(false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
