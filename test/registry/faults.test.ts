import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { mediaTypes, type Repository } from '../../src/image/index.ts';
import { type Descriptor, digestOf } from '../../src/storage/index.ts';
import { type Fault, type FaultProxy, type Rule, startFaultProxy } from '../support/fault-proxy.ts';
import { type SeededImage, startRegistry, type TestRegistry } from '../support/registry.ts';
import { collected, opened } from './opened.ts';

let registry: TestRegistry;
let proxy: FaultProxy;
let image: SeededImage;
let blob: Descriptor;
const layer = randomBytes(400_000);
const registries = opened();

beforeAll(async () => {
  registry = await startRegistry();
  proxy = await startFaultProxy(registry);
  image = await registry.seed('team/app', 'v1', { layers: [layer], compression: 'none' });
  blob = image.layers[0] as Descriptor;
});
beforeEach(() => proxy.clear());
afterAll(async () => {
  registries[Symbol.dispose]();
  await proxy[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
});

const repository = (): Repository => registries.repository({ domain: proxy.address, path: 'team/app' });
const manifest = () => repository().manifest({ tag: 'v1' });
const resolve = () => repository().resolve({ tag: 'v1' });
const layerBytes = () => collected(repository().blob(blob));
const answer = (status: number, extra: { headers?: Record<string, string>; body?: string } = {}): Fault => ({
  kind: 'answer',
  status,
  ...extra,
});
const errors = (code: string, message: string) => JSON.stringify({ errors: [{ code, message }] });

type Work = () => Promise<unknown>;
const faults: {
  fault: string;
  rule: Omit<Rule, 'path'> & { path?: RegExp };
  work: Work;
  kind: string;
  says: RegExp;
}[] = [
  {
    fault: 'a manifest that is not there',
    rule: { fault: answer(404, { body: errors('MANIFEST_UNKNOWN', 'manifest unknown') }) },
    work: manifest,
    kind: 'NotFound',
    says: /^registry 127\.0\.0\.1:\d+: manifest team\/app:v1: not found \(404 MANIFEST_UNKNOWN: manifest unknown\)$/,
  },
  {
    fault: 'a registry that forbids',
    rule: { fault: answer(403, { body: errors('DENIED', 'no entry') }) },
    work: manifest,
    kind: 'Forbidden',
    says: /403 DENIED: no entry/,
  },
  {
    fault: 'control characters and length in an error',
    rule: { fault: answer(400, { body: errors('X', `\u001b[2Jred\nalert ${'long '.repeat(1000)}`) }) },
    work: manifest,
    kind: 'InvalidArgument',
    says: /^[^\u0000-\u001f]{1,500}$/,
  },
  {
    fault: 'a page in HTML',
    rule: { fault: answer(400, { body: '<html>Bad gateway</html>' }) },
    work: manifest,
    kind: 'InvalidArgument',
    says: /the registry refuses \(400\)$/,
  },
  {
    fault: 'a registry that keeps failing',
    rule: { fault: answer(500, { body: 'oops' }) },
    work: manifest,
    kind: 'Unavailable',
    says: /the registry fails; try again later \(500: oops\)/,
  },
  {
    fault: 'too many requests',
    rule: { fault: answer(429, { body: errors('TOOMANYREQUESTS', 'slow down') }) },
    work: manifest,
    kind: 'Unavailable',
    says: /too many requests; wait, or log in .*429 TOOMANYREQUESTS: slow down/,
  },
  {
    fault: 'too many requests for an hour',
    rule: { fault: answer(429, { headers: { 'retry-after': '3600' } }) },
    work: manifest,
    kind: 'Unavailable',
    says: /it asks to come back in 3600 s \(429\)/,
  },
  {
    fault: 'nobody who answers',
    rule: { fault: { kind: 'refuse' } },
    work: manifest,
    kind: 'Unavailable',
    says: /manifest team\/app:v1: no answer from 127\.0\.0\.1:\d+: .*ECONNRESET/,
  },
  {
    fault: 'an answer that does not come',
    rule: { fault: { kind: 'stall' } },
    work: manifest,
    kind: 'Unavailable',
    says: /no answer within 1 s/,
  },
  {
    fault: 'a manifest of 100 MB with its length',
    rule: {
      fault: { kind: 'flood', bytes: 100_000_000, hasLength: true, headers: { 'content-type': mediaTypes.index } },
    },
    work: manifest,
    kind: 'InvalidArgument',
    says: /a manifest of 100000000 bytes: at most 4194304 are allowed/,
  },
  {
    fault: 'a manifest of 100 MB without a length',
    rule: {
      fault: { kind: 'flood', bytes: 100_000_000, hasLength: false, headers: { 'content-type': mediaTypes.index } },
    },
    work: manifest,
    kind: 'InvalidArgument',
    says: /larger than the 4194304 bytes that are allowed/,
  },
  {
    fault: 'an error of 100 MB',
    rule: { fault: { kind: 'alter', status: 400, body: ' '.repeat(1_000_000) } },
    work: manifest,
    kind: 'InvalidArgument',
    says: /the registry refuses \(400\)$/,
  },
  {
    fault: 'a manifest of another digest',
    rule: { method: 'GET', path: /manifests/, fault: { kind: 'corrupt', atByte: 100 } },
    work: manifest,
    kind: 'InvalidArgument',
    says: /manifest team\/app:v1 has digest sha256:[0-9a-f]{64}, expected sha256:[0-9a-f]{64}: the bytes are damaged/,
  },
  {
    fault: 'a pinned digest that is answered with something else',
    rule: { method: 'GET', path: /manifests/, fault: { kind: 'corrupt', atByte: 100 } },
    work: () => repository().manifest({ digest: image.manifest.digest as Descriptor['digest'] }),
    kind: 'InvalidArgument',
    says: /team\/app@sha256:\w+ has digest/,
  },
  {
    fault: 'a pinned digest that resolves to another',
    rule: {
      method: 'HEAD',
      fault: { kind: 'alter', headers: { 'Docker-Content-Digest': digestOf('other') } },
    },
    work: () => repository().resolve({ digest: image.manifest.digest as Descriptor['digest'] }),
    kind: 'InvalidArgument',
    says: /has digest sha256:/,
  },
  {
    fault: 'a manifest of a type that is none',
    rule: { path: /manifests/, fault: { kind: 'alter', headers: { 'Content-Type': 'text/html' } } },
    work: resolve,
    kind: 'InvalidArgument',
    says: /its media type "text\/html" is not that of an image manifest or index/,
  },
  {
    fault: "docker's schema 1",
    rule: {
      path: /manifests/,
      fault: {
        kind: 'alter',
        headers: {
          'Content-Type': 'application/vnd.docker.distribution.manifest.v1+prettyjws',
          'Docker-Content-Digest': undefined,
        },
        body: JSON.stringify({ schemaVersion: 1, name: 'x', fsLayers: [] }),
      },
    },
    work: manifest,
    kind: 'Unsupported',
    says: /in docker's schema 1, which is obsolete/,
  },
  {
    fault: 'a manifest cut again and again',
    rule: { method: 'GET', path: /manifests/, fault: { kind: 'cut', afterBytes: 50 } },
    work: manifest,
    kind: 'Unavailable',
    says: /manifest team\/app:v1: no answer from/,
  },
  {
    fault: 'a blob that is not there',
    rule: { path: /blobs/, fault: answer(404, { body: errors('BLOB_UNKNOWN', 'blob unknown to registry') }) },
    work: layerBytes,
    kind: 'NotFound',
    says: /blob team\/app@sha256:\w+: not found \(404 BLOB_UNKNOWN/,
  },
  {
    fault: 'a blob that is shorter by its length',
    rule: { path: /blobs/, fault: { kind: 'length', bytes: 1000 } },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /the registry sends 1000 bytes, its descriptor says 400000/,
  },
  {
    fault: 'a blob that is longer by its length',
    rule: { path: /blobs/, fault: { kind: 'length', bytes: 400_001 } },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /the registry sends 400001 bytes, its descriptor says 400000/,
  },
  {
    fault: 'a blob without end',
    rule: { path: /blobs/, fault: { kind: 'flood', bytes: 50_000_000, hasLength: false } },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /the registry sends more bytes, its descriptor says 400000/,
  },
  {
    fault: 'a blob that ends too early without a length',
    rule: { path: /blobs/, fault: { kind: 'flood', bytes: 1000, hasLength: false } },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /it ends after 1000 bytes, its descriptor says 400000/,
  },
  {
    fault: 'a blob that is cut again and again',
    rule: { path: /blobs/, fault: { kind: 'cut', afterBytes: 10 } },
    work: layerBytes,
    kind: 'Unavailable',
    says: /it broke 11 times, the last time at byte \d+ of 400000/,
  },
  {
    fault: 'a range other than the one asked for',
    rule: {
      path: /blobs/,
      fault: { kind: 'alter', headers: { 'Content-Range': 'bytes 0-399999/400000' } },
    },
    work: () => collected(repository().blob(blob, { offset: 100 })),
    kind: 'InvalidArgument',
    says: /it answers a range from byte 100 with Content-Range bytes 0-399999\/400000/,
  },
  {
    fault: 'a range of a blob of another size',
    rule: { path: /blobs/, fault: { kind: 'alter', headers: { 'Content-Range': 'bytes 100-399999/500000' } } },
    work: () => collected(repository().blob(blob, { offset: 100 })),
    kind: 'InvalidArgument',
    says: /with Content-Range bytes 100-399999\/500000/,
  },
  {
    fault: 'a range that cannot be had',
    rule: { path: /blobs/, fault: answer(416) },
    work: () => collected(repository().blob(blob, { offset: 100 })),
    kind: 'InvalidArgument',
    says: /has nothing from byte 100 on/,
  },
  {
    fault: 'a redirect in a circle',
    rule: { fault: answer(307, { headers: { location: '/v2/again' } }) },
    work: layerBytes,
    kind: 'Unavailable',
    says: /it redirects more than 5 times/,
  },
  {
    fault: 'a redirect to a file',
    rule: { fault: answer(302, { headers: { location: 'file:///etc/passwd' } }) },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /it leads to file:\/\/\/etc\/passwd: want an https URL/,
  },
  {
    fault: 'a redirect to nowhere',
    rule: { fault: answer(302, { headers: { location: 'http://[' } }) },
    work: layerBytes,
    kind: 'InvalidArgument',
    says: /leads to http:\/\/\[, which is no URL/,
  },
  {
    fault: 'tags that are none',
    rule: { path: /tags/, fault: answer(200, { body: '{"tags":["../etc"]}' }) },
    work: () => Array.fromAsync(repository().tags()),
    kind: 'InvalidArgument',
    says: /tags of team\/app: "\.\.\/etc" is no name/,
  },
  {
    fault: 'a list that goes in a circle',
    rule: {
      path: /tags/,
      fault: answer(200, { body: '{"tags":["a"]}', headers: { link: '</v2/team/app/tags/list?n=1>; rel=next' } }),
    },
    work: () => Array.fromAsync(repository().tags()),
    kind: 'InvalidArgument',
    says: /its pages do not end/,
  },
  {
    fault: 'a list that goes on elsewhere',
    rule: {
      path: /tags/,
      fault: answer(200, { body: '{"tags":["a"]}', headers: { link: '<https://evil.test/v2/x>; rel=next' } }),
    },
    work: () => Array.fromAsync(repository().tags()),
    kind: 'InvalidArgument',
    says: /its next page is on another host, evil\.test/,
  },
  {
    fault: 'a page of tags without end',
    rule: { path: /tags/, fault: { kind: 'flood', bytes: 50_000_000, hasLength: false } },
    work: () => Array.fromAsync(repository().tags()),
    kind: 'InvalidArgument',
    says: /larger than the 4194304 bytes/,
  },
  {
    fault: 'an upload without a place to send to',
    rule: { method: 'POST', fault: answer(202) },
    work: () => upload(randomBytes(10)),
    kind: 'InvalidArgument',
    says: /its upload has no Location/,
  },
  {
    fault: 'an upload that is refused',
    rule: { method: 'PUT', fault: answer(400, { body: errors('DIGEST_INVALID', 'provided digest did not match') }) },
    work: () => upload(randomBytes(10)),
    kind: 'InvalidArgument',
    says: /400 DIGEST_INVALID: provided digest did not match/,
  },
  {
    fault: 'an upload that fails again and again',
    rule: { method: 'PUT', fault: { kind: 'refuse' } },
    work: () => upload(randomBytes(10)),
    kind: 'Unavailable',
    says: /blob team\/app@sha256:\w+: no answer/,
  },
];

function upload(bytes: Uint8Array): Promise<unknown> {
  const descriptor = { mediaType: 'application/octet-stream', digest: digestOf(bytes), size: bytes.length };
  return repository().putBlob(descriptor, async function* () {
    yield bytes;
  });
}

test.each(faults)('$fault', async ({ rule, work, kind, says }) => {
  // So that how it speaks is known before.
  await manifest();
  proxy.clear();
  proxy.add(rule);
  const started = performance.now();
  const error = await work().then(
    () => undefined,
    (error: Error) => error,
  );
  expect(error).toMatchObject({ kind, message: expect.stringMatching(says) });
  expect(performance.now() - started).toBeLessThan(8000);
  proxy.clear();
  // The next one works.
  await expect(manifest()).resolves.toMatchObject({ descriptor: image.manifest });
  expect((await layerBytes()).equals(layer)).toBe(true);
});

test.each([
  { fault: 'a cut connection', rule: { times: 2, fault: { kind: 'cut', afterBytes: 150_000 } } },
  { fault: 'a connection that stalls', rule: { times: 1, fault: { kind: 'stall', afterBytes: 150_000 } } },
  { fault: 'a registry that fails once', rule: { times: 1, fault: answer(503) } },
  {
    fault: 'too many requests for a moment',
    rule: { times: 1, fault: answer(429, { headers: { 'retry-after': '1' } }) },
  },
  { fault: 'a connection that is refused once', rule: { times: 1, fault: { kind: 'refuse' } } },
] as { fault: string; rule: Rule }[])('$fault is got over', async ({ rule }) => {
  proxy.add({ path: /blobs/, ...rule });
  expect((await layerBytes()).equals(layer)).toBe(true);
  if (rule.fault.kind === 'cut') {
    const ranges = proxy.requests.filter(({ path }) => /blobs/.test(path)).map(({ headers }) => headers.range);
    expect(ranges).toEqual([undefined, 'bytes=150000-', 'bytes=300000-']);
  }
});

test('what was there before a break is not taken twice from a registry without ranges', async () => {
  const whole = { kind: 'answer', status: 200, headers: { 'content-length': '400000' }, body: layer } as const;
  proxy.add({ path: /blobs/, times: 1, fault: { kind: 'cut', afterBytes: 150_000 } }, { path: /blobs/, fault: whole });
  expect((await layerBytes()).equals(layer)).toBe(true);
});

test('Retry-After is kept to', async () => {
  proxy.add({ path: /blobs/, times: 1, fault: answer(429, { headers: { 'retry-after': '1' } }) });
  const started = performance.now();
  await layerBytes();
  expect(performance.now() - started).toBeGreaterThan(990);
});

test('a slow drip ends, though every piece comes in time', async () => {
  proxy.add({ path: /blobs/, fault: { kind: 'drip', bytes: 10, everyMs: 50 } });
  using impatient = opened({ limits: { resumptions: 1 } });
  const slow = impatient.repository({ domain: proxy.address, path: 'team/app' });
  await expect(collected(slow.blob(blob))).rejects.toMatchObject({
    kind: 'Unavailable',
    cause: { message: expect.stringMatching(/only \d+ bytes came within 0\.5 s/) },
  });
});

test('a slow reader is not taken for a slow registry', async () => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of repository().blob(blob)) {
    chunks.push(chunk);
    if (chunks.length === 2) await new Promise((resolve) => setTimeout(resolve, 2200));
  }
  expect(Buffer.concat(chunks).equals(layer)).toBe(true);
  expect(proxy.requests.filter(({ path }) => /blobs/.test(path))).toHaveLength(1);
});

test.each([
  { moment: 'before the answer', fault: { kind: 'stall' } },
  { moment: 'in the body', fault: { kind: 'stall', afterBytes: 1000 } },
  { moment: 'in a pause between tries', fault: answer(503, { headers: { 'retry-after': '2' } }) },
] as { moment: string; fault: Fault }[])(
  'an abort $moment ends it at once, and frees the connection',
  async ({ fault }) => {
    proxy.add({ path: /blobs/, fault });
    const controller = new AbortController();
    const reason = new Error('the user left');
    setTimeout(() => controller.abort(reason), 100);
    const started = performance.now();
    await expect(collected(repository().blob(blob, { signal: controller.signal }))).rejects.toBe(reason);
    expect(performance.now() - started).toBeLessThan(600);
  },
);

test('a reader that leaves early frees the connection', async () => {
  const before = proxy.connections;
  for await (const _chunk of repository().blob(blob)) break;
  await expect.poll(() => proxy.connections).toBeLessThanOrEqual(Math.max(1, before));
});

test('nobody listens there', async () => {
  const gone = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const { address } = gone;
  await gone[Symbol.asyncDispose]();
  await expect(registries.repository({ domain: address, path: 'a' }).resolve({ tag: 'x' })).rejects.toMatchObject({
    kind: 'Unavailable',
    message: expect.stringContaining('ECONNREFUSED'),
  });
});

test('names that would lead elsewhere do not get into a URL', async () => {
  await expect(repository().resolve({ tag: '../../x' })).rejects.toMatchObject({ kind: 'InvalidArgument' });
  await expect(repository().resolve({ digest: 'sha256:x' as Descriptor['digest'] })).rejects.toMatchObject({
    kind: 'InvalidArgument',
  });
  expect(proxy.requests).toEqual([]);
});

test('a registry that is no host of a URL', async () => {
  expect(() => registries.repository({ domain: '127.0.0.1:99999', path: 'a' })).toThrow(/want HOST or HOST:PORT/);
  for (const domain of ['me@blocked.test', 'blocked.test#a.test', 'a.test/v2', 'a.test\\b', 'a.test?b', 'a test']) {
    await expect(registries.authenticate(domain, {})).rejects.toThrow(/want HOST or HOST:PORT/);
  }
});
