import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Credentials } from '../../src/image/index.ts';
import { type Descriptor, digestOf } from '../../src/storage/index.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { startRegistry } from '../support/registry.ts';
import { startTokenServer } from '../support/token-server.ts';
import { opened } from './opened.ts';

const right: Credentials = { username: 'ann', password: 'sécret:with:colons' };
const auth = { username: right.username!, password: right.password! };
const users = { [auth.username]: auth.password };
const blobOf = (bytes: Uint8Array): Descriptor => ({
  mediaType: 'application/octet-stream',
  digest: digestOf(bytes),
  size: bytes.byteLength,
});

test('basic: nobody, a wrong password, a right one', async () => {
  await using registry = await startRegistry({ auth });
  await using proxy = await startFaultProxy(registry);
  await registry.seed('a/b', 'v1', { layers: [] });
  const name = { domain: proxy.address, path: 'a/b' };
  using registries = opened();
  await expect(registries.repository(name).resolve({ tag: 'v1' })).rejects.toMatchObject({
    kind: 'Unauthorized',
    message: expect.stringContaining(`tare login ${proxy.address}`),
  });
  const wrong = registries.repository(name, { username: 'ann', password: 'no' });
  await expect(wrong.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'Unauthorized', status: 401 });
  const repository = registries.repository(name, right);
  await expect(repository.resolve({ tag: 'v1' })).resolves.toMatchObject({ size: expect.any(Number) });
  proxy.clear();
  await repository.manifest({ tag: 'v1' });
  // It is asked for once; then it is known.
  expect(proxy.requests).toHaveLength(1);
  await expect(registries.authenticate(proxy.address, right)).resolves.toEqual({});
  await expect(registries.authenticate(proxy.address, { username: 'ann', password: 'no' })).rejects.toMatchObject({
    kind: 'Unauthorized',
    message: expect.stringContaining('password is wrong'),
  });
});

test('credentials come from the source, by repository', async () => {
  await using registry = await startRegistry({ auth });
  await registry.seed('a/b', 'v1', { layers: [] });
  const asked: string[] = [];
  const credentials = async (scope: string) => {
    asked.push(scope);
    return right;
  };
  await opened({ credentials }).repository({ domain: registry.address, path: 'a/b' }).resolve({ tag: 'v1' });
  expect(asked).toEqual([`${registry.address}/a/b`]);
});

test('a login or a logout between two pulls counts at once', async () => {
  await using registry = await startRegistry({ auth });
  await registry.seed('a/b', 'v1', { layers: [] });
  let stored: Credentials | undefined;
  using registries = opened({ credentials: async () => stored });
  const pull = () => registries.repository({ domain: registry.address, path: 'a/b' }).resolve({ tag: 'v1' });
  await expect(pull()).rejects.toMatchObject({ kind: 'Unauthorized' });
  stored = right;
  await expect(pull()).resolves.toMatchObject({ size: expect.any(Number) });
  stored = undefined;
  await expect(pull()).rejects.toMatchObject({ kind: 'Unauthorized' });
});

test('a source of credentials that fails is asked again', async () => {
  await using registry = await startRegistry({ auth });
  await registry.seed('a/b', 'v1', { layers: [] });
  let isBroken = true;
  const credentials = async () => {
    if (isBroken) throw new Error('the helper is not there');
    return right;
  };
  const repository = opened({ credentials }).repository({ domain: registry.address, path: 'a/b' });
  await expect(repository.resolve({ tag: 'v1' })).rejects.toThrow('the helper is not there');
  isBroken = false;
  await expect(repository.resolve({ tag: 'v1' })).resolves.toMatchObject({ size: expect.any(Number) });
});

test('bearer: one token a scope, shared by requests side by side', async () => {
  await using tokens = await startTokenServer({ users });
  await using registry = await startRegistry({ token: tokens.settings });
  using registries = opened();
  const repository = registries.repository({ domain: registry.address, path: 'a/b' }, right);
  const bytes = randomBytes(1000);
  async function* source() {
    yield bytes;
  }
  await repository.putBlob(blobOf(bytes), source);
  const scopes = tokens.requests.map(({ parameters }) => parameters['scope']);
  expect(scopes).toEqual([['repository:a/b:pull,push']]);
  expect(tokens.requests[0]!.parameters).toMatchObject({ service: ['tests'], account: ['ann'] });
  tokens.requests.length = 0;
  using fresh = opened();
  const reader = fresh.repository({ domain: registry.address, path: 'a/b' }, right);
  await Promise.all(Array.from({ length: 8 }, () => reader.blobSize(digestOf(bytes))));
  expect(tokens.requests).toHaveLength(1);
});

test('bearer: a mount asks for both repositories', async () => {
  await using tokens = await startTokenServer({ users });
  await using registry = await startRegistry({ token: tokens.settings });
  using registries = opened();
  const bytes = randomBytes(1000);
  async function* source() {
    yield bytes;
  }
  await registries.repository({ domain: registry.address, path: 'a/b' }, right).putBlob(blobOf(bytes), source);
  const other = registries.repository({ domain: registry.address, path: 'c/d' }, right);
  await expect(other.putBlob(blobOf(bytes), source, { from: ['a/b'] })).resolves.toBe('mounted');
  expect(tokens.requests.at(-1)!.parameters['scope']).toEqual(['repository:a/b:pull', 'repository:c/d:pull,push']);
});

test('bearer: a token near its end is replaced', async () => {
  await using tokens = await startTokenServer({ users, lifetimeSeconds: 1 });
  await using registry = await startRegistry({ token: tokens.settings });
  using registries = opened();
  const repository = registries.repository({ domain: registry.address, path: 'a/b' }, right);
  await repository.blobSize(digestOf('x'));
  await repository.blobSize(digestOf('x'));
  expect(tokens.requests).toHaveLength(2);
});

test('bearer: a token that the registry takes back is replaced, once', async () => {
  await using tokens = await startTokenServer({ users });
  await using registry = await startRegistry({ token: tokens.settings });
  await using proxy = await startFaultProxy(registry);
  using registries = opened();
  const repository = registries.repository({ domain: proxy.address, path: 'a/b' }, right);
  await repository.blobSize(digestOf('x'));
  const challenge = `Bearer realm="${tokens.realm}",service="tests",scope="repository:a/b:pull",error="invalid_token"`;
  const refusal = { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } } as const;
  proxy.add({ method: 'HEAD', times: 1, fault: refusal });
  await expect(repository.blobSize(digestOf('x'))).resolves.toBeUndefined();
  expect(tokens.requests).toHaveLength(2);
});

test('bearer: nobody in particular gets what everybody may have', async () => {
  await using tokens = await startTokenServer({ anonymous: /^repository:open\/.*:pull$/ });
  await using registry = await startRegistry({ token: tokens.settings });
  using registries = opened();
  await expect(
    registries.repository({ domain: registry.address, path: 'open/a' }).resolve({ tag: 'x' }),
  ).rejects.toMatchObject({ kind: 'NotFound' });
  await expect(
    registries.repository({ domain: registry.address, path: 'closed/a' }).resolve({ tag: 'x' }),
  ).rejects.toMatchObject({ kind: 'Unauthorized', message: expect.stringContaining('manifest closed/a:x') });
});

test('bearer: a login gives an identity token, which takes the place of the password', async () => {
  await using tokens = await startTokenServer({ users });
  await using registry = await startRegistry({ token: tokens.settings });
  using registries = opened();
  await expect(registries.authenticate(registry.address, { username: 'ann', password: 'no' })).rejects.toMatchObject({
    kind: 'Unauthorized',
    message: expect.stringContaining('password is wrong'),
  });
  const { identityToken } = await registries.authenticate(registry.address, right);
  expect(identityToken).toEqual(expect.any(String));
  tokens.requests.length = 0;
  const repository = registries.repository(
    { domain: registry.address, path: 'a/b' },
    { identityToken: identityToken! },
  );
  await expect(repository.blobSize(digestOf('x'))).resolves.toBeUndefined();
  expect(tokens.requests).toMatchObject([
    { method: 'POST', authorization: undefined, parameters: { grant_type: ['refresh_token'], client_id: ['tare'] } },
  ]);
  const stale = registries.repository({ domain: registry.address, path: 'a/b' }, { identityToken: 'stale' });
  await expect(stale.blobSize(digestOf('x'))).rejects.toMatchObject({
    kind: 'Unauthorized',
    message: expect.stringContaining(`log in again with: tare login ${registry.address}`),
  });
});

test('a registry token is sent as it is', async () => {
  await using tokens = await startTokenServer({ users });
  await using registry = await startRegistry({ token: tokens.settings });
  await using proxy = await startFaultProxy(registry);
  using registries = opened();
  const repository = registries.repository({ domain: proxy.address, path: 'a/b' }, { registryToken: 'abc' });
  await expect(repository.blobSize(digestOf('x'))).rejects.toMatchObject({ kind: 'Unauthorized' });
  expect(tokens.requests).toEqual([]);
  expect(proxy.requests.map(({ headers }) => headers.authorization)).toContain('Bearer abc');
  const split = registries.repository({ domain: proxy.address, path: 'a/b' }, { registryToken: 'a\r\nx: y' });
  await expect(split.blobSize(digestOf('x'))).rejects.toMatchObject({ kind: 'InvalidArgument' });
});

test.each([
  { what: 'refuses for ever', header: (realm: string) => `Bearer realm="${realm}",service="tests"` },
  { what: 'wants Basic for ever', header: () => 'Basic realm="x"' },
  { what: 'wants what nobody knows', header: () => 'Digest realm="x"' },
  { what: 'says nothing of it', header: () => undefined },
])('a registry that $what ends the login', async ({ header }) => {
  await using tokens = await startTokenServer({ users });
  await using proxy = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const challenge = header(tokens.realm);
  const headers: Record<string, string> = challenge === undefined ? {} : { 'www-authenticate': challenge };
  proxy.add({ fault: { kind: 'answer', status: 401, headers } });
  const repository = opened().repository({ domain: proxy.address, path: 'a/b' }, right);
  await expect(repository.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'Unauthorized', status: 401 });
  expect(proxy.requests.length).toBeLessThan(8);
  expect(tokens.requests.length).toBeLessThan(4);
});

test.each([
  {
    what: 'no URL',
    answer: { status: 200, body: '{"token":"x"}' },
    realm: 'ftp://x/token',
    says: /its realm for tokens/,
  },
  { what: 'no token', answer: { status: 200, body: '{}' }, says: /want a field "token"/ },
  { what: 'no JSON', answer: { status: 200, body: '<html>' }, says: /is not valid JSON/ },
  { what: 'a header in the token', answer: { status: 200, body: '{"token":"x\\r\\ny: z"}' }, says: /visible ASCII/ },
  { what: 'a failure', answer: { status: 500, body: 'out of order' }, says: /token from .*500: out of order/ },
])('a token server that gives $what is named', async ({ answer, realm, says }) => {
  await using tokens = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  tokens.add({ fault: { kind: 'answer', ...answer } });
  await using proxy = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const challenge = `Bearer realm="${realm ?? `${tokens.url}/token`}",service="x"`;
  proxy.add({ fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } } });
  const repository = opened().repository({ domain: proxy.address, path: 'a/b' }, right);
  await expect(repository.resolve({ tag: 'v1' })).rejects.toThrow(says);
});

test('a token answer without end is cut off', async () => {
  await using tokens = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  tokens.add({ fault: { kind: 'flood', bytes: 50_000_000, hasLength: false } });
  await using proxy = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const challenge = `Bearer realm="${tokens.url}/token"`;
  proxy.add({ fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } } });
  const repository = opened().repository({ domain: proxy.address, path: 'a/b' });
  await expect(repository.resolve({ tag: 'v1' })).rejects.toThrow(/larger than the 1048576 bytes/);
});

test('an identity token does not follow a redirect of the token server', async () => {
  await using thief = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  thief.add({ fault: { kind: 'answer', status: 200, body: '{"token":"x"}' } });
  await using tokens = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  tokens.add({ fault: { kind: 'answer', status: 307, headers: { location: `${thief.url}/token` } } });
  await using proxy = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const challenge = `Bearer realm="${tokens.url}/token",service="x"`;
  proxy.add({ fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': challenge } } });
  const name = { domain: proxy.address, path: 'a/b' };
  const withToken = opened().repository(name, { identityToken: 'secret' });
  await expect(withToken.resolve({ tag: 'v1' })).rejects.toMatchObject({ status: 307 });
  expect(thief.requests).toEqual([]);
  // A password stays behind; what is fetched without it may be had from anywhere.
  const withPassword = opened().repository(name, right);
  await expect(withPassword.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'Unauthorized' });
  expect(tokens.requests.at(-1)!.headers.authorization).toMatch(/^Basic /);
  expect(thief.requests.map(({ headers }) => headers.authorization)).not.toContainEqual(expect.anything());
});

test('a token answer that breaks is asked for again', async () => {
  await using tokens = await startTokenServer({ users });
  await using front = await startFaultProxy({ url: new URL(tokens.realm).origin });
  front.add({ times: 1, fault: { kind: 'cut', afterBytes: 20 } });
  await using registry = await startRegistry({ token: { ...tokens.settings, realm: `${front.url}/token` } });
  const repository = opened().repository({ domain: registry.address, path: 'a/b' }, right);
  await expect(repository.blobSize(digestOf('x'))).resolves.toBeUndefined();
  expect(front.requests).toHaveLength(2);
});
