import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { sha256 } from './image.ts';

export interface ConformantOptions {
  /** Told to clients as OCI-Chunk-Min-Length. */
  minChunkBytes?: number;
}

interface StoredManifest {
  mediaType: string;
  bytes: Buffer;
}

const referrersPerPage = 2;

/**
 * What the distribution specification (1.1) has and Debian's docker-registry has not: uploads that go on in the middle of a
 * chunk, and the API for referrers. In memory, for one repository's worth of tests.
 */
export class ConformantRegistry implements AsyncDisposable {
  readonly blobs = new Map<string, Buffer>();
  readonly manifests = new Map<string, StoredManifest>();
  readonly #uploads = new Map<string, Buffer[]>();
  readonly #options: ConformantOptions;
  readonly #server = http.createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });

  constructor(options: ConformantOptions) {
    this.#options = options;
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.url);
    const [, name = '', kind, rest = ''] = /^\/v2\/(.+)\/(blobs|manifests|referrers)\/(.*)$/.exec(url.pathname) ?? [];
    if (kind === undefined) return void response.writeHead(url.pathname === '/v2/' ? 200 : 404).end();
    if (kind === 'referrers') return this.#referrers(name, rest, url, response);
    if (kind === 'manifests') return await this.#manifest(name, rest, request, response);
    if (rest.startsWith('uploads/'))
      return await this.#upload(name, rest.slice('uploads/'.length), url, request, response);
    const blob = this.blobs.get(rest);
    if (blob === undefined) return void response.writeHead(404).end();
    response.writeHead(200, { 'content-length': blob.length });
    response.end(request.method === 'HEAD' ? undefined : blob);
  }

  async #upload(
    name: string,
    id: string,
    url: URL,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<void> {
    if (request.method === 'POST') {
      const started = randomUUID();
      this.#uploads.set(started, []);
      const { minChunkBytes } = this.#options;
      const headers = minChunkBytes === undefined ? {} : { 'oci-chunk-min-length': String(minChunkBytes) };
      return void response.writeHead(202, { location: `/v2/${name}/blobs/uploads/${started}`, ...headers }).end();
    }
    const chunks = this.#uploads.get(id);
    if (chunks === undefined) return void response.writeHead(404).end();
    const has = () => chunks.reduce((total, chunk) => total + chunk.length, 0);
    const state = () => ({ location: url.pathname, range: `0-${Math.max(0, has() - 1)}` });
    if (request.method === 'GET') return void response.writeHead(204, state()).end();
    const range = /^(\d+)-\d+$/.exec(request.headers['content-range'] ?? '');
    const begins = range === null ? (request.method === 'PATCH' ? 0 : has()) : Number(range[1]);
    if (begins !== has()) return void response.writeHead(416, state()).end();
    // Kept as they come, so that a break loses nothing.
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method === 'PATCH') return void response.writeHead(202, state()).end();
    const bytes = Buffer.concat(chunks);
    const digest = sha256(bytes);
    if (digest !== url.searchParams.get('digest')) {
      return void response.writeHead(400).end('{"errors":[{"code":"DIGEST_INVALID"}]}');
    }
    this.blobs.set(digest, bytes);
    this.#uploads.delete(id);
    response.writeHead(201, { location: `/v2/${name}/blobs/${digest}`, 'docker-content-digest': digest }).end();
  }

  async #manifest(
    name: string,
    reference: string,
    request: http.IncomingMessage,
    response: http.ServerResponse,
  ): Promise<void> {
    const key = `${name} ${reference}`;
    if (request.method === 'PUT') {
      const bytes = Buffer.concat(await Array.fromAsync(request as AsyncIterable<Buffer>));
      const stored = { mediaType: request.headers['content-type'] ?? '', bytes };
      const digest = sha256(bytes);
      this.manifests.set(key, stored);
      this.manifests.set(`${name} ${digest}`, stored);
      const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
      const headers = subject === undefined ? {} : { 'oci-subject': subject.digest };
      return void response.writeHead(201, { 'docker-content-digest': digest, ...headers }).end();
    }
    const stored = this.manifests.get(key);
    if (stored === undefined) return void response.writeHead(404).end();
    if (request.method === 'DELETE') {
      this.manifests.delete(key);
      return void response.writeHead(202).end();
    }
    response.writeHead(200, {
      'content-type': stored.mediaType,
      'content-length': stored.bytes.length,
      'docker-content-digest': sha256(stored.bytes),
    });
    response.end(request.method === 'HEAD' ? undefined : stored.bytes);
  }

  #referrers(name: string, subject: string, url: URL, response: http.ServerResponse): void {
    const all = [...this.manifests].flatMap(([key, { mediaType, bytes }]) => {
      const document = JSON.parse(bytes.toString()) as { subject?: { digest: string }; artifactType?: string };
      if (key !== `${name} ${sha256(bytes)}` || document.subject?.digest !== subject) return [];
      return [{ mediaType, digest: sha256(bytes), size: bytes.length, artifactType: document.artifactType }];
    });
    const from = Number(url.searchParams.get('from') ?? 0);
    const next = from + referrersPerPage;
    const link = next < all.length ? { link: `<${url.pathname}?from=${next}>; rel="next"` } : {};
    response.writeHead(200, { 'content-type': 'application/vnd.oci.image.index.v1+json', ...link });
    response.end(JSON.stringify({ schemaVersion: 2, manifests: all.slice(from, next) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }
}

export async function startConformantRegistry(options: ConformantOptions = {}): Promise<ConformantRegistry> {
  const registry = new ConformantRegistry(options);
  await registry.listen();
  return registry;
}
