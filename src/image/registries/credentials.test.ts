import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { credentialPaths } from './credential-file.ts';
import { credentialHelper } from './credential-helper.ts';
import { openCredentials, parseScope } from './credentials.ts';
import { TestHome } from './home.fixture.ts';

const basic = (username: string, password: string) => ({
  auth: Buffer.from(`${username}:${password}`).toString('base64'),
});
const config = (auths: Record<string, unknown>, more: object = {}) => JSON.stringify({ auths, ...more });

/** A helper that prints what the test tells it, and notes what it was asked. */
const helper = (body: string) => ({
  text: `#!/bin/sh\nread -r input\necho "$1 $input" >>"$HOME/asked"\n${body}\n`,
  mode: 0o755,
});

test.each<{ what: string; auths: Record<string, unknown>; scope: string; want: unknown }>([
  { what: 'a host', auths: { 'a.test': basic('u', 'p') }, scope: 'a.test', want: { username: 'u', password: 'p' } },
  {
    what: 'a host of a repository',
    auths: { 'a.test': basic('u', 'p') },
    scope: 'a.test/x/y',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'the most specific repository',
    auths: { 'a.test': basic('host', 'p'), 'a.test/x/y': basic('repo', 'p'), 'a.test/x': basic('ns', 'p') },
    scope: 'a.test/x/y',
    want: { username: 'repo', password: 'p' },
  },
  {
    what: 'the namespace of another repository',
    auths: { 'a.test': basic('host', 'p'), 'a.test/x/y': basic('repo', 'p'), 'a.test/x': basic('ns', 'p') },
    scope: 'a.test/x/z',
    want: { username: 'ns', password: 'p' },
  },
  {
    what: 'not a repository that only begins alike',
    auths: { 'a.test/x': basic('ns', 'p') },
    scope: 'a.test/xy',
    want: undefined,
  },
  { what: 'not another port', auths: { 'a.test': basic('u', 'p') }, scope: 'a.test:5000', want: undefined },
  { what: 'not a host that ends alike', auths: { 'a.test': basic('u', 'p') }, scope: 'evil-a.test', want: undefined },
  { what: 'not a registry above', auths: { 'a.test': basic('u', 'p') }, scope: 'b.a.test', want: undefined },
  {
    what: "docker's key",
    auths: { 'https://index.docker.io/v1/': basic('u', 'p') },
    scope: 'docker.io/library/x',
    want: { username: 'u', password: 'p' },
  },
  {
    what: "podman's key for docker",
    auths: { 'docker.io': basic('u', 'p') },
    scope: 'docker.io',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'an old key of docker',
    auths: { 'index.docker.io/v1/': basic('u', 'p') },
    scope: 'docker.io',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'old keys with a scheme',
    auths: { 'https://a.test/v1/': basic('u', 'p') },
    scope: 'a.test',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'old keys in the clear',
    auths: { 'http://a.test:5000': basic('u', 'p') },
    scope: 'a.test:5000',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'the exact key before an old one',
    auths: { 'https://a.test/v2/': basic('old', 'p'), 'a.test': basic('new', 'p') },
    scope: 'a.test',
    want: { username: 'new', password: 'p' },
  },
  {
    what: 'a colon in the password',
    auths: { 'a.test': basic('u', 'p:q:') },
    scope: 'a.test',
    want: { username: 'u', password: 'p:q:' },
  },
  {
    what: 'no base64',
    auths: { 'a.test': { username: 'u', password: 'p' } },
    scope: 'a.test',
    want: { username: 'u', password: 'p' },
  },
  {
    what: 'an identity token',
    auths: { 'a.test': { ...basic('u', ''), identitytoken: 't' } },
    scope: 'a.test',
    want: { username: 'u', identityToken: 't' },
  },
  {
    what: 'a registry token',
    auths: { 'a.test': { registrytoken: 't' } },
    scope: 'a.test',
    want: { registryToken: 't' },
  },
  { what: 'an entry that says nothing', auths: { 'a.test': {}, 'a.test/x': null }, scope: 'a.test/x', want: undefined },
  { what: 'a key of Object.prototype', auths: {}, scope: 'constructor', want: undefined },
])('credentials: $what', async ({ auths, scope, want }) => {
  using home = new TestHome({ 'home/.docker/config.json': config(auths) });
  expect(await openCredentials(home.user)(scope)).toEqual(want);
});

test('files are asked in order, each for all it has', async () => {
  using home = new TestHome();
  const source = openCredentials(home.user);
  const user = async () => (await source('a.test/x'))?.username;
  home.write('home/.dockercfg', JSON.stringify({ 'https://a.test/v1/': basic('dockercfg', 'p') }));
  expect(await user()).toBe('dockercfg');
  home.write('home/.docker/config.json', config({ 'a.test': basic('docker', 'p') }));
  expect(await user()).toBe('docker');
  home.write('home/.config/containers/auth.json', config({ 'a.test': basic('config', 'p') }));
  expect(await user()).toBe('config');
  home.write('run/containers/auth.json', config({ 'b.test': basic('other', 'p') }));
  expect(await user()).toBe('config');
  home.write('run/containers/auth.json', config({ 'a.test': basic('run', 'p') }));
  expect(await user()).toBe('run');
  home.write('run/containers/auth.json', '');
  expect(await user()).toBe('config');
});

test.each<{ what: string; env: NodeJS.ProcessEnv; authFile?: string; want: string[] }>([
  {
    what: 'usual places',
    env: {},
    want: ['/run/containers/7/auth.json', '/h/.config/containers/auth.json', '/h/.docker/config.json', '/h/.dockercfg'],
  },
  {
    what: 'places that the environment moves',
    env: { XDG_RUNTIME_DIR: '/r', XDG_CONFIG_HOME: '/c', DOCKER_CONFIG: '/d' },
    want: ['/r/containers/auth.json', '/c/containers/auth.json', '/d/config.json', '/h/.dockercfg'],
  },
  {
    what: 'one file by the environment',
    env: { REGISTRY_AUTH_FILE: '/a.json', DOCKER_CONFIG: '/d' },
    want: ['/a.json'],
  },
  { what: 'one file by name', env: { REGISTRY_AUTH_FILE: '/a.json' }, authFile: '/b.json', want: ['/b.json'] },
])('credentialPaths: $what', ({ env, authFile, want }) => {
  expect(credentialPaths({ env, home: '/h', uid: 7, ...(authFile === undefined ? {} : { authFile }) })).toEqual(want);
});

test.each([
  { what: 'no JSON', text: '{', want: /config.json is not valid JSON/ },
  { what: 'a list', text: '[]', want: /config.json: want an object/ },
  { what: 'auths that are none', text: '{"auths":[]}', want: /auths: want an object/ },
  {
    what: 'no base64 pair',
    text: config({ 'a.test': { auth: 'bm90aGluZw==' } }),
    want: /a.test: auth is not USER:PASSWORD/,
  },
  { what: 'a huge file', text: ' '.repeat(1024 * 1024 + 1), want: /larger than 1 MiB/ },
  {
    what: 'a helper that is a path',
    text: config({}, { credHelpers: { 'a.test': '../../bin/sh' } }),
    want: /invalid credential helper/,
  },
  { what: 'a store that is words', text: config({}, { credsStore: 'x; rm -rf' }), want: /invalid credential helper/ },
  { what: 'a helper that is an option', text: config({}, { credsStore: '-x' }), want: /invalid credential helper/ },
  {
    what: 'a helper that is not there',
    text: config({}, { credsStore: 'absent' }),
    want: /docker-credential-absent is not in \$PATH/,
  },
])('a file of credentials is refused: $what', async ({ text, want }) => {
  using home = new TestHome({ 'home/.docker/config.json': text });
  const error = await openCredentials(home.user)('a.test').catch((reason: unknown) => reason);
  expect(messageOf(error)).toMatch(want);
  expect(error).toBeInstanceOf(TareError);
  // What stands in the file is secret.
  expect(messageOf(error)).not.toContain('nothing');
});

test('a helper for one host, another for the rest', async () => {
  using home = new TestHome({
    'home/.docker/config.json': config(
      { 'c.test': basic('file', 'p') },
      { credHelpers: { 'a.test': 'one' }, credsStore: 'all' },
    ),
    'bin/docker-credential-one': helper(`echo '{"ServerURL":"x","Username":"one","Secret":"s"}'`),
    'bin/docker-credential-all': helper(`echo '{"Username":"<token>","Secret":"t"}'`),
  });
  const source = openCredentials(home.user);
  expect(await source('a.test/x/y')).toEqual({ username: 'one', password: 's' });
  expect(await source('b.test:5000/x')).toEqual({ identityToken: 't' });
  expect(await source('c.test')).toEqual({ username: 'file', password: 'p' });
  expect(await source('docker.io/library/x')).toEqual({ identityToken: 't' });
  expect(readFileSync(join(home.home, 'asked'), 'utf8')).toBe(
    'get a.test\nget b.test:5000\nget https://index.docker.io/v1/\n',
  );
});

test('a helper that has nothing leaves the question to the next place', async () => {
  using home = new TestHome({
    'home/.docker/config.json': config({}, { credHelpers: { 'a.test': 'none' } }),
    'home/.dockercfg': JSON.stringify({ 'a.test': basic('old', 'p') }),
    'bin/docker-credential-none': helper('echo credentials not found in native keychain; exit 1'),
  });
  expect(await openCredentials(home.user)('a.test')).toEqual({ username: 'old', password: 'p' });
});

test('helpers of registries.conf, before and after the files', async () => {
  using home = new TestHome({
    'home/.docker/config.json': config({ 'a.test': basic('file', 'p') }),
    'bin/docker-credential-vault': helper(
      `case $input in a.test | b.test/ns) echo '{"Username":"vault","Secret":"s"}' ;; *) echo credentials not found in native keychain; exit 1 ;; esac`,
    ),
  });
  const user = async (helpers: string[], scope: string) =>
    (await openCredentials({ ...home.user, helpers })(scope))?.username;
  expect(await user(['vault', 'containers-auth.json'], 'a.test')).toBe('vault');
  expect(await user(['containers-auth.json', 'vault'], 'a.test')).toBe('file');
  expect(await user(['containers-auth.json', 'vault'], 'b.test/ns/x')).toBe('vault');
  expect(await user(['vault'], 'c.test')).toBeUndefined();
});

test.each([
  {
    what: 'fails',
    body: 'echo "the keychain is locked"; exit 1',
    want: /docker-credential-bad get failed: the keychain is locked/,
  },
  { what: 'prints no JSON', body: 'echo my-secret-word', want: /did not print a JSON object/ },
  { what: 'prints without end', body: 'exec yes my-secret-word 2>&-', want: /get printed over 64 KiB/ },
  { what: 'never ends', body: 'exec sleep 60', want: /get took over 0.5 s/ },
  { what: 'leaves a child that holds its output', body: 'exec 2>&-; sleep 2 & sleep 2', want: /get took over 0.5 s/ },
  { what: 'is killed', body: 'kill -9 $$', want: /get was ended by SIGKILL/ },
])('a helper that $what', async ({ body, want }) => {
  using home = new TestHome({ 'bin/docker-credential-bad': helper(body) });
  const started = performance.now();
  const error = await credentialHelper('bad', home.user.env, 500)
    .get('a.test')
    .catch((reason: unknown) => reason);
  expect(messageOf(error)).toMatch(want);
  expect(kindOf(error)).toBe('Unavailable');
  expect(messageOf(error)).not.toContain('my-secret-word');
  expect(performance.now() - started).toBeLessThan(1500);
});

test('a helper is told one line', async () => {
  using home = new TestHome({ 'bin/docker-credential-x': helper('echo "{}"') });
  await expect(credentialHelper('x', home.user.env).get('a.test\nb.test')).rejects.toThrow(/invalid registry/);
  expect(await credentialHelper('x', home.user.env).get('a.test')).toBeUndefined();
});

test.each([
  ['', 'docker.io'],
  ['docker.io', 'docker.io'],
  ['https://index.docker.io/v1/', 'docker.io'],
  ['registry-1.docker.io', 'docker.io'],
  ['a.test:5000', 'a.test:5000'],
  ['https://a.test:5000/v2/', 'a.test:5000'],
  ['a.test/ns/repo/', 'a.test/ns/repo'],
  ['[::1]:5000', '[::1]:5000'],
  ['localhost', 'localhost'],
])('parseScope(%j) is %s', (text, want) => expect(parseScope(text)).toBe(want));

test.each([
  'a.test/../b',
  'a b',
  'a.test\nb',
  '../x',
  '/etc',
  'a.test/UPPER',
  '-x',
  'user@a.test',
  `a.test/${'x'.repeat(600)}`,
  'a.test:99999999',
  'a.test/x:tag',
])('parseScope refuses %j', (text) => {
  expect(() => parseScope(text)).toThrow(/invalid registry/);
});

test('whatever stands in a file of credentials, it is read or refused', async () => {
  using home = new TestHome();
  const key = fc.constantFrom('a.test', 'https://a.test', 'a.test/x', '__proto__', '', 'docker.io', 'a.test/');
  const entry = fc.oneof(fc.record({ auth: fc.oneof(fc.base64String(), fc.string()) }), fc.jsonValue({ maxDepth: 1 }));
  await fc.assert(
    fc.asyncProperty(fc.dictionary(key, entry), async (auths) => {
      home.write('home/.docker/config.json', config(auths));
      const error = await openCredentials(home.user)('a.test/x').then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error !== undefined) expect(error).toBeInstanceOf(TareError);
    }),
    { numRuns: 300 },
  );
});
