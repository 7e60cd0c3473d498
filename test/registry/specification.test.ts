import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { type BlobBytes, mediaTypes } from '../../src/image/index.ts';
import { type Descriptor, digestOf } from '../../src/storage/index.ts';
import { startConformantRegistry } from '../support/conformant-registry.ts';
import { type Rule, startFaultProxy } from '../support/fault-proxy.ts';
import { opened } from './opened.ts';

const descriptorOf = (bytes: Uint8Array, mediaType = 'application/octet-stream'): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});
const pieces = (bytes: Uint8Array): BlobBytes =>
  async function* (offset) {
    for (let at = offset; at < bytes.byteLength; at += 65_536) yield bytes.subarray(at, at + 65_536);
  };

test.each([
  {
    upload: 'a stream',
    limits: { monolithicBytes: 0 },
    rules: [{ method: 'PATCH', times: 1, fault: { kind: 'cut-upload', afterBytes: 700_000 } }],
  },
  {
    upload: 'a stream that breaks three times',
    limits: { monolithicBytes: 0 },
    rules: [{ method: 'PATCH', times: 3, fault: { kind: 'cut-upload', afterBytes: 500_000 } }],
  },
  {
    upload: 'one PUT',
    limits: { monolithicBytes: 10_000_000 },
    rules: [{ method: 'PUT', times: 1, fault: { kind: 'cut-upload', afterBytes: 700_000 } }],
  },
  {
    upload: 'the second of three chunks',
    limits: { monolithicBytes: 0, chunkBytes: 900_000 },
    rules: [{ method: 'PATCH', skip: 1, times: 1, fault: { kind: 'cut-upload', afterBytes: 400_000 } }],
  },
  {
    upload: 'a chunk whose answer is lost',
    limits: { monolithicBytes: 0, chunkBytes: 900_000 },
    rules: [{ method: 'PATCH', times: 1, fault: { kind: 'lose-answer' } }],
  },
  {
    upload: 'a stream whose status cannot be asked at once',
    limits: { monolithicBytes: 0 },
    rules: [
      { method: 'PATCH', times: 1, fault: { kind: 'cut-upload', afterBytes: 700_000 } },
      { method: 'GET', path: /uploads/, times: 2, fault: { kind: 'answer', status: 503 } },
    ],
  },
] as { upload: string; limits: object; rules: Rule[] }[])(
  '$upload goes on where it broke',
  async ({ limits, rules }) => {
    await using registry = await startConformantRegistry();
    await using proxy = await startFaultProxy(registry);
    proxy.add(...rules);
    const bytes = randomBytes(2_000_000);
    const repository = opened({ limits }).repository({ domain: proxy.address, path: 'a/b' });
    await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('uploaded');
    expect(registry.blobs.get(digestOf(bytes))?.equals(bytes)).toBe(true);
    // Not a byte went twice.
    expect(proxy.requests.reduce((total, { bytes }) => total + bytes, 0)).toBe(bytes.length);
  },
);

test('an upload that the registry forgot begins anew', async () => {
  await using registry = await startConformantRegistry();
  await using proxy = await startFaultProxy(registry);
  proxy.add(
    { method: 'PATCH', times: 1, fault: { kind: 'cut-upload', afterBytes: 700_000 } },
    { method: 'GET', path: /uploads/, times: 1, fault: { kind: 'answer', status: 404 } },
  );
  const bytes = randomBytes(2_000_000);
  const repository = opened({ limits: { monolithicBytes: 0 } }).repository({ domain: proxy.address, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('uploaded');
  expect(proxy.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
});

test('an upload that is gone when its next chunk comes begins anew', async () => {
  await using registry = await startConformantRegistry();
  await using proxy = await startFaultProxy(registry);
  proxy.add({ method: 'PATCH', skip: 1, times: 1, fault: { kind: 'answer', status: 404 } });
  const bytes = randomBytes(2_000_000);
  const limits = { monolithicBytes: 0, chunkBytes: 900_000 };
  const repository = opened({ limits }).repository({ domain: proxy.address, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).resolves.toBe('uploaded');
  expect(proxy.requests.filter(({ method }) => method === 'POST')).toHaveLength(2);
});

test('a repository that takes no uploads is not asked twice', async () => {
  await using registry = await startConformantRegistry();
  await using proxy = await startFaultProxy(registry);
  proxy.add({ method: 'POST', fault: { kind: 'answer', status: 404 } });
  const repository = opened().repository({ domain: proxy.address, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(Buffer.from('x')), pieces(Buffer.from('x')))).rejects.toMatchObject({
    kind: 'NotFound',
  });
  expect(proxy.requests.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('an upload that never gets on ends', async () => {
  await using registry = await startConformantRegistry();
  await using proxy = await startFaultProxy(registry);
  proxy.add({ method: 'PATCH', fault: { kind: 'refuse' } });
  const bytes = randomBytes(2_000_000);
  const limits = { monolithicBytes: 0, resumptions: 3 };
  const repository = opened({ limits }).repository({ domain: proxy.address, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(bytes), pieces(bytes))).rejects.toMatchObject({ kind: 'Unavailable' });
  expect(proxy.requests.filter(({ method }) => method === 'PATCH')).toHaveLength(4);
});

test('an upload can be broken off', async () => {
  await using registry = await startConformantRegistry();
  await using proxy = await startFaultProxy(registry);
  const controller = new AbortController();
  const reason = new Error('the user left');
  const bytes = randomBytes(2_000_000);
  const never: BlobBytes = async function* () {
    yield bytes.subarray(0, 1000);
    controller.abort(reason);
    await new Promise((resolve) => setTimeout(resolve, 50));
    yield bytes.subarray(1000);
  };
  const repository = opened().repository({ domain: proxy.address, path: 'a/b' });
  const put = repository.putBlob(descriptorOf(bytes), never, { signal: controller.signal });
  await expect(put).rejects.toBe(reason);
  expect(registry.blobs.size).toBe(0);
});

test('a source that is too short is an error of its own, and nothing is stored', async () => {
  await using registry = await startConformantRegistry();
  const domain = new URL(registry.url).host;
  const bytes = randomBytes(1000);
  const short: BlobBytes = async function* () {
    yield bytes.subarray(0, 500);
  };
  const repository = opened().repository({ domain, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(bytes), short)).rejects.toThrow(/gave 500 bytes instead of 1000/);
  expect(registry.blobs.size).toBe(0);
});

test('a source that fails is an error of its own', async () => {
  await using registry = await startConformantRegistry();
  const bytes = randomBytes(1000);
  // biome-ignore lint/correctness/useYield: it fails before it has anything
  const failing: BlobBytes = async function* () {
    throw new Error('the disk is gone');
  };
  const repository = opened().repository({ domain: new URL(registry.url).host, path: 'a/b' });
  await expect(repository.putBlob(descriptorOf(bytes), failing)).rejects.toThrow(/^the disk is gone$/);
});

test('the least chunk that the registry names is kept to', async () => {
  await using registry = await startConformantRegistry({ minChunkBytes: 700_000 });
  await using proxy = await startFaultProxy(registry);
  const bytes = randomBytes(1_500_000);
  const limits = { monolithicBytes: 0, chunkBytes: 10_000 };
  const repository = opened({ limits }).repository({ domain: proxy.address, path: 'a/b' });
  await repository.putBlob(descriptorOf(bytes), pieces(bytes));
  expect(proxy.requests.filter(({ method }) => method === 'PATCH').map(({ bytes }) => bytes)).toEqual([
    700_000, 700_000, 100_000,
  ]);
});

test('referrers by the API, over pages, filtered; no fallback tag is made', async () => {
  await using registry = await startConformantRegistry();
  const repository = opened().repository({ domain: new URL(registry.url).host, path: 'a/b' });
  const empty = descriptorOf(Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
  const subject = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.manifest, config: empty, layers: [] }),
  );
  const { digest, size, mediaType } = await repository.putManifest({ tag: 'v1' }, mediaTypes.manifest, subject);
  for (const kind of ['sbom', 'signature', 'sbom', 'sbom', 'signature']) {
    const document = {
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      artifactType: `application/vnd.test.${kind}`,
      config: empty,
      layers: [],
      subject: { mediaType, digest, size },
      annotations: { which: String(registry.manifests.size) },
    };
    const bytes = Buffer.from(JSON.stringify(document));
    await repository.putManifest({ digest: digestOf(bytes) }, mediaTypes.manifest, bytes);
  }
  expect(await repository.referrers(digest)).toHaveLength(5);
  // This registry does not filter: the client does.
  expect(await repository.referrers(digest, { artifactType: 'application/vnd.test.sbom' })).toHaveLength(3);
  expect([...registry.manifests.keys()].filter((key) => key.includes('sha256-'))).toEqual([]);
  const [first] = await repository.referrers(digest);
  await repository.deleteManifest({ digest: first!.digest });
  expect(await repository.referrers(digest)).toHaveLength(4);
});
