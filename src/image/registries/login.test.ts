import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { openCredentials } from './credentials.ts';
import { TestHome } from './home.fixture.ts';
import { removeLogin, removeLogins, storeLogin } from './login.ts';

const basic = (username: string, password: string) => ({
  auth: Buffer.from(`${username}:${password}`).toString('base64'),
});
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** A store of secrets as docker's helpers are, one file a server. */
const vault = {
  mode: 0o755,
  text: `#!/bin/sh
mkdir -p "$HOME/vault"
name() { echo "$1" | tr -c 'a-z0-9\\n' _; }
case $1 in
store) input=$(cat); server=$(echo "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); echo "$input" >"$HOME/vault/$(name "$server")" ;;
get) read -r server; cat "$HOME/vault/$(name "$server")" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) read -r server; rm "$HOME/vault/$(name "$server")" ;;
esac
`,
};

test('a login is kept in a file that nobody else reads, beside what the file has', async () => {
  using home = new TestHome({
    'home/.docker/config.json': JSON.stringify({
      auths: { 'b.test': basic('b', 'p'), 'https://a.test/v1/': basic('old', 'p') },
      HttpHeaders: { 'X-Meta': 'kept' },
      currentContext: 'kept',
      __proto__: {},
    }),
  });
  const path = join(home.home, '.docker/config.json');
  chmodSync(path, 0o644);
  expect(await storeLogin('a.test', { username: 'u', password: 'p:q' }, home.user)).toEqual({ path });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readJson(path)).toEqual({
    auths: { 'b.test': basic('b', 'p'), 'a.test': basic('u', 'p:q') },
    HttpHeaders: { 'X-Meta': 'kept' },
    currentContext: 'kept',
  });
  expect(await openCredentials(home.user)('a.test/x')).toEqual({ username: 'u', password: 'p:q' });
  expect(readdirSync(dirname(path))).toEqual(['config.json']);
});

test.each([
  { what: "docker's file", env: {}, file: 'home/.docker/config.json' },
  { what: "docker's folder", env: { DOCKER_CONFIG: 'elsewhere' }, file: 'elsewhere/config.json' },
  { what: 'the file of the environment', env: { REGISTRY_AUTH_FILE: 'x/y/auth.json' }, file: 'x/y/auth.json' },
])('where a login goes: $what', async ({ env, file }) => {
  using home = new TestHome();
  const moved = Object.fromEntries(Object.entries(env).map(([name, path]) => [name, join(home.root, path)]));
  const user = { ...home.user, env: { ...home.user.env, ...moved } };
  const { path } = await storeLogin('', { username: 'u', password: 'p' }, user);
  expect(path).toBe(join(home.root, file));
  expect(statSync(dirname(path)).mode & 0o777).toBe(0o700);
  const key = path.endsWith('config.json') ? 'https://index.docker.io/v1/' : 'docker.io';
  expect(readJson(path)).toEqual({ auths: { [key]: basic('u', 'p') } });
  expect(await removeLogin('docker.io', user)).toEqual([path]);
  expect(readJson(path)).toEqual({ auths: {} });
  expect(await removeLogin('docker.io', user)).toEqual([]);
});

test('a token takes the place of the password', async () => {
  using home = new TestHome();
  const { path } = await storeLogin('a.test', { username: 'u', password: 'p', identityToken: 't' }, home.user);
  expect(readFileSync(path, 'utf8')).not.toContain(Buffer.from('u:p').toString('base64'));
  expect(await openCredentials(home.user)('a.test')).toEqual({ username: 'u', identityToken: 't' });
});

test('a repository has a login of its own', async () => {
  using home = new TestHome();
  await storeLogin('a.test', { username: 'host', password: 'p' }, home.user);
  await storeLogin('a.test/ns/x', { username: 'repo', password: 'p' }, home.user);
  const user = async (scope: string) => (await openCredentials(home.user)(scope))?.username;
  expect([await user('a.test/ns/x'), await user('a.test/ns')]).toEqual(['repo', 'host']);
  await removeLogin('a.test/ns/x', home.user);
  expect(await user('a.test/ns/x')).toBe('host');
});

test('another file that is asked before is named', async () => {
  using home = new TestHome({
    'run/containers/auth.json': JSON.stringify({ auths: { 'a.test': basic('other', 'p') } }),
  });
  const { shadowedBy } = await storeLogin('a.test', { username: 'u', password: 'p' }, home.user);
  expect(shadowedBy).toBe(join(home.root, 'run/containers/auth.json'));
  expect((await storeLogin('b.test', { username: 'u', password: 'p' }, home.user)).shadowedBy).toBeUndefined();
});

test('a link to a file of settings stays a link', async () => {
  using home = new TestHome({ 'dotfiles/config.json': '{"auths":{}}' });
  mkdirSync(join(home.home, '.docker'));
  symlinkSync(join(home.root, 'dotfiles/config.json'), join(home.home, '.docker/config.json'));
  await storeLogin('a.test', { username: 'u', password: 'p' }, home.user);
  expect(readJson(join(home.root, 'dotfiles/config.json')).auths).toEqual({ 'a.test': basic('u', 'p') });
  expect(readdirSync(join(home.root, 'dotfiles'))).toEqual(['config.json']);
});

test('a file that cannot be read is left as it is', async () => {
  using home = new TestHome({ 'home/.docker/config.json': '{ broken' });
  await expect(storeLogin('a.test', { username: 'u', password: 'p' }, home.user)).rejects.toThrow(/not valid JSON/);
  expect(readFileSync(join(home.home, '.docker/config.json'), 'utf8')).toBe('{ broken');
});

test('a store keeps the secret, and the file says only that there is one', async () => {
  using home = new TestHome({
    'home/.docker/config.json': '{"credsStore":"vault"}',
    'bin/docker-credential-vault': vault,
  });
  const path = join(home.home, '.docker/config.json');
  expect(await storeLogin('a.test:5000', { username: 'u', password: 'secret' }, home.user)).toEqual({
    path,
    helper: 'vault',
  });
  expect(readJson(path)).toEqual({ credsStore: 'vault', auths: { 'a.test:5000': {} } });
  expect(await openCredentials(home.user)('a.test:5000/x')).toEqual({ username: 'u', password: 'secret' });
  await storeLogin('b.test', { username: 'u', identityToken: 't' }, home.user);
  expect(await openCredentials(home.user)('b.test')).toEqual({ identityToken: 't' });
  expect(await removeLogin('a.test:5000', home.user)).toEqual([path]);
  expect(await openCredentials(home.user)('a.test:5000')).toBeUndefined();
  expect(await removeLogins(home.user)).toEqual([path]);
  expect(await openCredentials(home.user)('b.test')).toBeUndefined();
  expect(readdirSync(join(home.home, 'vault'))).toEqual([]);
});

test('logout takes a login out of every file', async () => {
  const auths = { 'a.test': basic('u', 'p'), 'b.test': basic('u', 'p') };
  using home = new TestHome({
    'run/containers/auth.json': JSON.stringify({ auths }),
    'home/.docker/config.json': JSON.stringify({ auths, other: 1 }),
    'home/.dockercfg': JSON.stringify(auths),
  });
  expect(await removeLogin('a.test', home.user)).toHaveLength(3);
  expect(await openCredentials(home.user)('a.test')).toBeUndefined();
  expect(readJson(join(home.home, '.dockercfg'))).toEqual({ 'b.test': basic('u', 'p') });
  expect(await removeLogins(home.user)).toHaveLength(3);
  expect(await openCredentials(home.user)('b.test')).toBeUndefined();
  expect(readJson(join(home.home, '.docker/config.json'))).toEqual({ auths: {}, other: 1 });
});

test.each(['a.test', 'a.test:5000', 'docker.io', 'a.test/ns/repo'])(
  'skopeo reads what we wrote for %s',
  async (scope) => {
    using home = new TestHome();
    const authFile = join(home.root, 'auth.json');
    await storeLogin(scope, { username: 'me', password: 'p' }, { ...home.user, authFile });
    const skopeo = (...words: string[]) =>
      execFileSync('skopeo', [...words, '--authfile', authFile, scope], { encoding: 'utf8' });
    expect(skopeo('login', '--get-login')).toBe('me\n');
  },
);

test.each(['a.test', 'a.test:5000', 'docker.io'])('what skopeo takes away of %s is gone for us', async (scope) => {
  using home = new TestHome();
  const authFile = join(home.root, 'auth.json');
  const user = { ...home.user, authFile };
  await storeLogin(scope, { username: 'me', password: 'p' }, user);
  execFileSync('skopeo', ['logout', '--authfile', authFile, scope]);
  expect(existsSync(authFile)).toBe(true);
  expect(await openCredentials(user)(scope)).toBeUndefined();
});
