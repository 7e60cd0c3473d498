import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, connect, type LookupFunction, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Credentials, OpenRegistriesOptions } from '../../src/image/index.ts';
import type { Descriptor } from '../../src/storage/index.ts';
import { makeCertificate } from '../support/certificates.ts';
import { startFaultProxy } from '../support/fault-proxy.ts';
import { type SeededImage, startRegistry, type TestRegistry } from '../support/registry.ts';
import { collected, opened, plainConf } from './opened.ts';

const authority = makeCertificate({ commonName: 'authority', isAuthority: true });
const names = 'DNS:registry.test,DNS:cdn.test,IP:127.0.0.1';
const certificate = makeCertificate({ issuer: authority, subjectAltName: names });
const ann: Credentials = { username: 'ann', password: 'secret' };
const auth = { username: 'ann', password: 'secret' };

/** Every name is this machine. */
const lookup: LookupFunction = (_name, options, callback) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
  else callback(null, '127.0.0.1', 4);
};
const trusting = { lookup, tlsFor: () => ({ ca: [authority.cert] }) };

let registry: TestRegistry;
let image: SeededImage;
let blob: Descriptor;
beforeAll(async () => {
  registry = await startRegistry({ tls: certificate, auth });
  image = await registry.seed('a/b', 'v1', { layers: [Buffer.alloc(100_000, 'x')], compression: 'none' });
  blob = image.layers[0] as Descriptor;
});
afterAll(async () => {
  await registry[Symbol.asyncDispose]();
});

const at = (name: string, port: number, options: Partial<OpenRegistriesOptions>) =>
  opened(options).repository({ domain: `${name}:${port}`, path: 'a/b' }, ann);

test('an authority that certs.d names is trusted', async () => {
  const { manifest } = image;
  await expect(at('registry.test', registry.port, trusting).resolve({ tag: 'v1' })).resolves.toEqual(manifest);
  const asked: string[] = [];
  const tlsFor = (domain: string) => {
    asked.push(domain);
    return { ca: [authority.cert] };
  };
  await at('registry.test', registry.port, { lookup, tlsFor }).resolve({ tag: 'v1' });
  expect(new Set(asked)).toEqual(new Set([`registry.test:${registry.port}`]));
});

test("the machine's own authorities are trusted, by all who ask at the same moment and by who asked others before", async () => {
  const files = mkdtempSync(join(tmpdir(), 'tare-authorities-'));
  onTestFinished(() => rmSync(files, { recursive: true }));
  const file = join(files, 'ca.pem');
  writeFileSync(file, authority.cert);
  const program = `
    import { Connections } from '${new URL('../../src/image/registry/connections.ts', import.meta.url).href}';
    import { defaultLimits } from '${new URL('../../src/image/registry/limits.ts', import.meta.url).href}';
    const open = () => new Connections({ limits: defaultLimits, env: {}, tlsFor: () => ({}) });
    const url = new URL('https://127.0.0.1:${registry.port}/v2/');
    const ask = async (connections, isInsecure = false) => {
      const request = { method: 'GET', url, domain: url.host, headers: {}, isInsecure };
      using response = await connections.request(request);
      await response.bytes(100_000);
      return response.status;
    };
    using first = open();
    using second = open();
    const statuses = [await ask(first, true)];
    statuses.push(...await Promise.all([second, second, second].map((one) => ask(one))));
    statuses.push(await ask(first));
    process.stdout.write(JSON.stringify(statuses));
  `;
  // A process of its own: what it knows of authorities it knows for good.
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, SSL_CERT_FILE: file },
  });
  expect(JSON.parse(stdout)).toEqual([401, 401, 401, 401, 401]);
});

test.each([
  {
    fault: 'an authority that nobody knows',
    tls: certificate,
    host: 'registry.test',
    options: { lookup },
    says: /certificate .*put its authority's certificate into \/etc\/containers\/certs\.d\/registry\.test:\d+\/ca\.crt/,
  },
  {
    fault: 'a certificate that has ended',
    tls: makeCertificate({ issuer: authority, subjectAltName: names, isExpired: true }),
    host: 'registry.test',
    options: trusting,
    says: /certificate is not valid now .*renew it/,
  },
  {
    fault: 'a certificate of another host',
    tls: makeCertificate({ issuer: authority, subjectAltName: 'DNS:other.test' }),
    host: 'registry.test',
    options: trusting,
    says: /certificate is another host's/,
  },
  {
    fault: 'plain text where TLS should be',
    tls: undefined,
    host: 'registry.test',
    options: trusting,
    says: /does not speak TLS as it should .*mark it insecure/,
  },
  {
    fault: 'loopback, whose authority is named but did not sign',
    tls: makeCertificate(),
    host: '127.0.0.1',
    options: trusting,
    says: /nobody trusted signed/,
  },
])('$fault', async ({ tls, host, options, says }) => {
  await using proxy = await startFaultProxy(registry, tls === undefined ? {} : { tls });
  const repository = at(host, proxy.port, options);
  await expect(repository.resolve({ tag: 'v1' })).rejects.toMatchObject({
    kind: 'Unavailable',
    message: expect.stringMatching(says),
  });
  expect(proxy.requests).toEqual([]);
});

test('a client certificate is shown where one is configured', async () => {
  const clients = makeCertificate({ commonName: 'clients', isAuthority: true });
  const client = makeCertificate({ commonName: 'ann', issuer: clients });
  await using closed = await startRegistry({ tls: certificate, clientAuthority: clients.cert });
  const shown = { ca: [authority.cert], cert: [client.cert], key: [client.key] };
  const repository = at('registry.test', closed.port, { lookup, tlsFor: () => shown });
  await expect(repository.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'NotFound' });
  await expect(at('registry.test', closed.port, trusting).resolve({ tag: 'v1' })).rejects.toMatchObject({
    kind: 'Unavailable',
  });
});

test.each([
  { host: '127.0.0.1', conf: plainConf },
  { host: 'registry.test', conf: { ...plainConf, isInsecure: () => true } },
])('$host, when insecure, is tried by TLS without a check, then by plain HTTP', async ({ host, conf }) => {
  await expect(at(host, registry.port, { lookup, conf }).resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  await using plain = await startFaultProxy(registry);
  await expect(at(host, plain.port, { lookup, conf }).resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
});

test('a registry that changes from plain HTTP to TLS is found again', async () => {
  const plain = await startFaultProxy(registry);
  const { port } = plain;
  const repository = at('127.0.0.1', port, {});
  await repository.resolve({ tag: 'v1' });
  await plain[Symbol.asyncDispose]();
  const tls = makeCertificate();
  const server = (await import('node:https')).createServer(tls, (_request, response) => {
    response.writeHead(200, {
      'content-type': image.manifest.mediaType,
      'docker-content-digest': image.manifest.digest,
    });
    response.end(image.bytes);
  });
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  await repository.manifest({ tag: 'v1' }).catch(() => {});
  await expect(repository.manifest({ tag: 'v1' })).resolves.toMatchObject({ descriptor: image.manifest });
  server.close();
  server.closeAllConnections();
});

test('credentials do not follow a redirect to another host, nor answer its challenge', async () => {
  await using front = await startFaultProxy(registry, { tls: certificate });
  await using cdn = await startFaultProxy({ url: 'http://127.0.0.1:1' }, { tls: certificate });
  const redirect = { location: `https://cdn.test:${cdn.port}/blob` };
  front.add({ path: /blobs/, skip: 1, fault: { kind: 'answer', status: 307, headers: redirect } });
  cdn.add({ times: 1, fault: { kind: 'answer', status: 200, body: Buffer.alloc(100_000, 'x') } });
  const repository = at('registry.test', front.port, trusting);
  expect(await collected(repository.blob(blob))).toHaveLength(100_000);
  expect(front.requests.at(-1)!.headers.authorization).toMatch(/^Basic /);
  expect(cdn.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  cdn.clear();
  cdn.add({ fault: { kind: 'answer', status: 401, headers: { 'www-authenticate': 'Basic realm="give"' } } });
  await expect(collected(repository.blob(blob))).rejects.toMatchObject({ kind: 'Unauthorized' });
  expect(cdn.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
});

test('the same machine at another port is another host', async () => {
  await using front = await startFaultProxy(registry, { tls: certificate });
  await using other = await startFaultProxy({ url: 'http://127.0.0.1:1' }, { tls: certificate });
  const location = `https://registry.test:${other.port}/blob`;
  front.add({ path: /blobs/, skip: 1, fault: { kind: 'answer', status: 302, headers: { location } } });
  other.add({ fault: { kind: 'answer', status: 200, body: Buffer.alloc(100_000, 'x') } });
  await collected(at('registry.test', front.port, trusting).blob(blob));
  expect(other.requests[0]!.headers.authorization).toBeUndefined();
});

test('a redirect from TLS to plain HTTP is refused unless the registry is insecure', async () => {
  await using front = await startFaultProxy(registry, { tls: certificate });
  await using plain = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const location = `http://cdn.test:${plain.port}/blob`;
  front.add({ path: /blobs/, fault: { kind: 'answer', status: 307, headers: { location } } });
  plain.add({ fault: { kind: 'answer', status: 200, body: Buffer.alloc(100_000, 'x') } });
  await expect(collected(at('registry.test', front.port, trusting).blob(blob))).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringMatching(/it leads from https to http:.*X-Forwarded-Proto/),
  });
  expect(plain.requests).toEqual([]);
  const conf = { ...plainConf, isInsecure: (scope: string) => scope.startsWith('registry.test') };
  const insecure = at('registry.test', front.port, { ...trusting, conf });
  expect(await collected(insecure.blob(blob))).toHaveLength(100_000);
  expect(plain.requests[0]!.headers.authorization).toBeUndefined();
});

test('tokens are not asked for in the clear where the registry is not', async () => {
  await using front = await startFaultProxy(registry, { tls: certificate });
  await using realm = await startFaultProxy({ url: 'http://127.0.0.1:1' });
  const headers = { 'www-authenticate': `Bearer realm="${realm.url}/token",service="x"` };
  front.add({ fault: { kind: 'answer', status: 401, headers } });
  await expect(at('registry.test', front.port, trusting).resolve({ tag: 'v1' })).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringMatching(/its realm for tokens is http:.*want an https URL/),
  });
  expect(realm.requests).toEqual([]);
});

test('an upload that is to go on at another host goes without credentials', async () => {
  await using front = await startFaultProxy(registry, { tls: certificate });
  await using other = await startFaultProxy({ url: 'http://127.0.0.1:1' }, { tls: certificate });
  const location = `https://cdn.test:${other.port}/upload`;
  front.add({ method: 'POST', skip: 1, fault: { kind: 'answer', status: 202, headers: { location } } });
  other.add({ fault: { kind: 'answer', status: 201 } });
  const bytes = Buffer.from('upload');
  const { digestOf } = await import('../../src/storage/index.ts');
  const descriptor = { mediaType: 'x', digest: digestOf(bytes), size: bytes.length };
  const repository = at('registry.test', front.port, trusting);
  await repository.blobSize(descriptor.digest);
  front.clear();
  front.add({ method: 'POST', fault: { kind: 'answer', status: 202, headers: { location } } });
  await repository.putBlob(descriptor, async function* () {
    yield bytes;
  });
  expect(other.requests).toMatchObject([{ method: 'PUT', bytes: 6 }]);
  expect(other.requests[0]!.headers.authorization).toBeUndefined();
});

test("a foreign layer's URLs are ignored unless allowed, and never see credentials", async () => {
  await using foreign = await startFaultProxy({ url: 'http://127.0.0.1:1' }, { tls: certificate });
  foreign.add({ fault: { kind: 'answer', status: 200, body: 'foreign bytes' } });
  const { digestOf } = await import('../../src/storage/index.ts');
  const layer: Descriptor = {
    mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    digest: digestOf('foreign bytes'),
    size: 13,
    urls: [`http://cdn.test:${foreign.port}/x`, `https://cdn.test:${foreign.port}/layer`],
  };
  const repository = at('registry.test', registry.port, trusting);
  await expect(collected(repository.blob(layer))).rejects.toMatchObject({
    kind: 'NotFound',
    message: expect.stringContaining('foreign layers are ignored unless they are allowed'),
  });
  expect(foreign.requests).toEqual([]);
  const allowing = at('registry.test', registry.port, { ...trusting, allowForeign: true });
  expect((await collected(allowing.blob(layer))).toString()).toBe('foreign bytes');
  expect(foreign.requests.map(({ path }) => path)).toEqual(['/layer']);
  expect(foreign.requests[0]!.headers.authorization).toBeUndefined();
});

test('a mirror that fails gives way, and never sees the credentials of the registry', async () => {
  await using mirror = await startFaultProxy(registry, { tls: certificate });
  mirror.add({ fault: { kind: 'answer', status: 503 } });
  const domain = `registry.test:${registry.port}`;
  const conf: OpenRegistriesOptions['conf'] = {
    ...plainConf,
    lookup: () => [
      { domain: `cdn.test:${mirror.port}`, path: 'a/b', insecure: false, isMirror: true },
      { domain, path: 'a/b', insecure: false, isMirror: false },
    ],
  };
  const registries = opened({ ...trusting, conf });
  const [first, second, ...rest] = registries.sources({ domain, path: 'a/b', tag: 'v1' }, ann);
  expect(rest).toEqual([]);
  await expect(first!.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'Unavailable', status: 503 });
  // Where there is another place to ask, two tries are enough.
  expect(mirror.requests).toHaveLength(2);
  await expect(second!.resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  mirror.clear();
  await expect(first!.resolve({ tag: 'v1' })).rejects.toMatchObject({ kind: 'Unauthorized' });
  expect(mirror.requests.map(({ headers }) => headers.authorization)).not.toContainEqual(expect.anything());
});

/** A forward proxy: CONNECT, and whole URLs. */
class ForwardProxy implements AsyncDisposable {
  readonly seen: string[] = [];
  readonly #sockets = new Set<Socket>();
  /** The port on this machine that stands for an authority. */
  portOf = (authority: string): number => Number(authority.split(':')[1]);
  readonly #server = http.createServer((request, response) => {
    this.seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    const url = new URL(request.url!);
    const { host: _host, 'proxy-authorization': _secret, ...headers } = request.headers;
    const sent = http.request({
      host: '127.0.0.1',
      port: url.port,
      path: url.pathname,
      method: request.method!,
      headers,
    });
    sent.on('response', (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    request.pipe(sent);
  });

  async listen(): Promise<string> {
    this.#server.on('connect', (request, socket: Socket) => {
      this.seen.push(`CONNECT ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
      const other = connect(this.portOf(request.url!), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        other.pipe(socket).pipe(other);
      });
      for (const one of [other, socket]) one.on('error', () => socket.destroy());
      this.#sockets.add(socket);
    });
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    for (const socket of this.#sockets) socket.destroy();
  }
}

test('a proxy of the environment is used, for TLS as a tunnel', async () => {
  await using forward = new ForwardProxy();
  const address = await forward.listen();
  const env = { HTTPS_PROXY: `http://user:word@${address}`, HTTP_PROXY: address };
  // Names that only the proxy can find.
  const options = { tlsFor: trusting.tlsFor, env };
  const repository = at('registry.test', registry.port, options);
  await expect(repository.resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  expect(await collected(repository.blob(blob))).toHaveLength(100_000);
  const tunnel = `CONNECT registry.test:${registry.port} Basic ${Buffer.from('user:word').toString('base64')}`;
  expect(new Set(forward.seen)).toEqual(new Set([tunnel]));
  // One tunnel serves all requests.
  expect(forward.seen).toHaveLength(1);

  await using plain = await startFaultProxy(registry);
  const conf = { ...plainConf, isInsecure: () => true };
  forward.seen.length = 0;
  const insecure = at('registry.test', plain.port, { env: { HTTP_PROXY: address }, lookup, conf });
  await expect(insecure.resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  expect(forward.seen.some((line) => line.startsWith(`GET http://registry.test:${plain.port}/v2/`))).toBe(true);
});

test('NO_PROXY and loopback go past the proxy', async () => {
  await using forward = new ForwardProxy();
  const env = { HTTPS_PROXY: await forward.listen(), NO_PROXY: '.example.com,registry.test' };
  await at('registry.test', registry.port, { ...trusting, env }).resolve({ tag: 'v1' });
  await at('127.0.0.1', registry.port, { env }).resolve({ tag: 'v1' });
  expect(forward.seen).toEqual([]);
});

test('a proxy that is not there is named', async () => {
  const options = { ...trusting, env: { HTTPS_PROXY: '127.0.0.1:1' } };
  await expect(at('registry.test', registry.port, options).resolve({ tag: 'v1' })).rejects.toMatchObject({
    kind: 'Unavailable',
    message: expect.stringMatching(/no answer from registry\.test:\d+.*127\.0\.0\.1:1/),
  });
});

test('docker.io is asked at its own hosts', async () => {
  const hub = makeCertificate({ issuer: authority, subjectAltName: 'DNS:registry-1.docker.io,DNS:index.docker.io' });
  await using front = await startFaultProxy(registry, { tls: hub });
  const results = [{ name: 'busybox', description: 'small', star_count: 3, is_official: true }];
  front.add({ path: /^\/v1\/search/, fault: { kind: 'answer', status: 200, body: JSON.stringify({ results }) } });
  await using forward = new ForwardProxy();
  forward.portOf = () => front.port;
  const asked: string[] = [];
  const tlsFor = (domain: string) => {
    asked.push(domain);
    return { ca: [authority.cert] };
  };
  const scopes: string[] = [];
  const credentials = async (scope: string) => {
    scopes.push(scope);
    return ann;
  };
  const registries = opened({ tlsFor, credentials, env: { HTTPS_PROXY: await forward.listen() } });
  const repository = registries.repository({ domain: 'docker.io', path: 'a/b' });
  await expect(repository.resolve({ tag: 'v1' })).resolves.toEqual(image.manifest);
  await expect(registries.search('busy', 25)).resolves.toMatchObject([{ name: 'busybox', isOfficial: true }]);
  expect(forward.seen).toEqual(['CONNECT registry-1.docker.io:443', 'CONNECT index.docker.io:443']);
  expect(front.requests.at(-1)!.path).toBe('/v1/search?q=busy&n=25');
  expect(scopes).toEqual(['docker.io/a/b', 'docker.io']);
  expect(asked).toEqual(['docker.io']);
});
