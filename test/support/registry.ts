import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Certificate } from './certificates.ts';
import { sha256 } from './image.ts';

export interface RegistryOptions {
  /** Basic authentication. */
  auth?: { username: string; password: string };
  /** Bearer tokens; see token-server.ts. */
  token?: { realm: string; service: string; issuer: string; rootCertificate: string };
  tls?: Certificate;
  /** PEM of who signed the client certificates that it asks for; needs `tls`. */
  clientAuthority?: string;
  /** Default true. */
  allowsDelete?: boolean;
  /** Default 127.0.0.1 */
  host?: string;
}

export interface Blob {
  mediaType: string;
  digest: `sha256:${string}`;
  size: number;
}

export interface SeededImage {
  manifest: Blob;
  config: Blob;
  layers: Blob[];
  bytes: Buffer;
}

export interface Seed {
  /** Uncompressed tars, base first. */
  layers: readonly Uint8Array[];
  compression?: 'none' | 'gzip' | 'zstd';
  /** The `config` of the image configuration. */
  config?: Record<string, unknown>;
  platform?: { architecture: string; os: string; variant?: string };
  /** docker's schema 2 in place of OCI's manifest. */
  isDocker?: boolean;
  /** Merged into the manifest. */
  manifest?: Record<string, unknown>;
}

export interface Answer {
  status: number;
  headers: http.IncomingHttpHeaders;
  body: Buffer;
}

const layerTypes = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
};

/** Debian's docker-registry, on loopback, with a configuration and a storage folder of its own. */
export class TestRegistry implements AsyncDisposable {
  /** host:port */
  readonly address: string;
  readonly port: number;
  /** Below it lies docker/registry/v2. */
  readonly storage: string;
  readonly #folder: string;
  readonly #process: ChildProcess;
  readonly #options: RegistryOptions;

  constructor(address: string, folder: string, child: ChildProcess, options: RegistryOptions) {
    this.address = address;
    this.port = Number(address.slice(address.lastIndexOf(':') + 1));
    this.#folder = folder;
    this.storage = join(folder, 'storage');
    this.#process = child;
    this.#options = options;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.address}`;
  }

  /** One request of the harness itself, with the credentials of basic authentication. */
  request(method: string, path: string, headers: Record<string, string> = {}, body?: Uint8Array): Promise<Answer> {
    const { auth, tls } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const url = new URL(path, this.url);
    const request = (tls === undefined ? http : https).request(url, {
      method,
      headers: { ...headers, 'content-length': String(body?.byteLength ?? 0) },
      agent: false,
      rejectUnauthorized: false,
      ...(auth === undefined ? {} : { auth: `${auth.username}:${auth.password}` }),
    });
    request.once('error', reject);
    request.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    request.end(body);
    return promise;
  }

  async #expect(status: number, answer: Promise<Answer>): Promise<Answer> {
    const { status: actual, headers, body } = await answer;
    if (actual !== status) throw new Error(`registry: status ${actual} instead of ${status}: ${body.toString()}`);
    return { status, headers, body };
  }

  async putBlob(repository: string, bytes: Uint8Array, mediaType = 'application/octet-stream'): Promise<Blob> {
    const digest = sha256(bytes);
    const start = await this.#expect(202, this.request('POST', `/v2/${repository}/blobs/uploads/`));
    const url = new URL(start.headers.location!, this.url);
    url.searchParams.set('digest', digest);
    const type = { 'content-type': 'application/octet-stream' };
    await this.#expect(201, this.request('PUT', `${url.pathname}${url.search}`, type, bytes));
    return { mediaType, digest, size: bytes.byteLength };
  }

  /** @param reference a tag or a digest; default: the digest */
  async putManifest(repository: string, document: object, reference?: string): Promise<Blob & { bytes: Buffer }> {
    const bytes = Buffer.from(JSON.stringify(document));
    const mediaType = (document as { mediaType: string }).mediaType;
    const digest = sha256(bytes);
    const path = `/v2/${repository}/manifests/${reference ?? digest}`;
    await this.#expect(201, this.request('PUT', path, { 'content-type': mediaType }, bytes));
    return { mediaType, digest, size: bytes.length, bytes };
  }

  /** Stores an image, its layers compressed by gzip unless told otherwise. @param reference a tag; none: by digest alone */
  async seed(repository: string, reference: string | undefined, seed: Seed): Promise<SeededImage> {
    const { compression = 'gzip', isDocker = false } = seed;
    const pack = { none: (tar: Uint8Array) => tar, gzip: gzipSync, zstd: zstdCompressSync }[compression];
    const layerType = isDocker ? 'application/vnd.docker.image.rootfs.diff.tar.gzip' : layerTypes[compression];
    const layers: Blob[] = [];
    for (const layer of seed.layers) layers.push(await this.putBlob(repository, pack(layer), layerType));
    const configuration = {
      ...(seed.platform ?? { architecture: process.arch === 'arm64' ? 'arm64' : 'amd64', os: 'linux' }),
      created: '2024-01-01T00:00:00Z',
      config: seed.config ?? { Env: ['PATH=/bin'], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: seed.layers.map(sha256) },
      history: seed.layers.map((_, index) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${index}` })),
    };
    const config = await this.putBlob(
      repository,
      Buffer.from(JSON.stringify(configuration)),
      isDocker ? 'application/vnd.docker.container.image.v1+json' : 'application/vnd.oci.image.config.v1+json',
    );
    const mediaType = isDocker
      ? 'application/vnd.docker.distribution.manifest.v2+json'
      : 'application/vnd.oci.image.manifest.v1+json';
    const document = { schemaVersion: 2, mediaType, config, layers, ...seed.manifest };
    const { bytes, ...manifest } = await this.putManifest(repository, document, reference);
    return { manifest, config, layers, bytes };
  }

  /** Stores an index of images that are there already. */
  async seedIndex(
    repository: string,
    reference: string | undefined,
    manifests: readonly (Blob & { platform?: object; annotations?: object })[],
    extra: Record<string, unknown> = {},
  ): Promise<Blob & { bytes: Buffer }> {
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    return await this.putManifest(repository, { schemaVersion: 2, mediaType, manifests, ...extra }, reference);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#process.once('exit', () => resolve());
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) resolve();
    this.#process.kill('SIGKILL');
    await promise;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** htpasswd's line; the registry wants bcrypt, which perl has from the C library. */
function htpasswd(username: string, password: string): string {
  const program = 'print crypt($ARGV[0], q($2y$05$abcdefghijklmnopqrstuu))';
  return `${username}:${execFileSync('perl', ['-e', program, password], { encoding: 'utf8' })}\n`;
}

export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const folder = mkdtempSync(join(tmpdir(), 'tare-registry-'));
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const { auth, token, tls, clientAuthority, host = '127.0.0.1' } = options;
  const authentication = {
    ...(auth === undefined
      ? {}
      : { htpasswd: { realm: 'tests', path: file('htpasswd', htpasswd(auth.username, auth.password)) } }),
    ...(token === undefined
      ? {}
      : {
          token: {
            realm: token.realm,
            service: token.service,
            issuer: token.issuer,
            rootcertbundle: file('token.pem', token.rootCertificate),
          },
        }),
  };
  const certificates =
    tls === undefined
      ? {}
      : {
          tls: {
            certificate: file('cert.pem', tls.cert),
            key: file('key.pem', tls.key),
            ...(clientAuthority === undefined ? {} : { clientcas: [file('clients.pem', clientAuthority)] }),
          },
        };
  // YAML takes JSON as it is.
  const configuration = file(
    'config.yml',
    JSON.stringify({
      version: '0.1',
      log: { level: 'info', accesslog: { disabled: true } },
      storage: {
        filesystem: { rootdirectory: join(folder, 'storage') },
        delete: { enabled: options.allowsDelete ?? true },
        maintenance: { uploadpurging: { enabled: false } },
      },
      http: { addr: `${host}:0`, secret: 'of the tests', ...certificates },
      ...(Object.keys(authentication).length === 0 ? {} : { auth: authentication }),
    }),
  );
  // Its parent's death is its own: a killed test run leaves no registry behind.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'docker-registry', 'serve', configuration], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], OTEL_TRACES_EXPORTER: 'none' },
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const said: string[] = [];
  child.once('error', reject);
  child.once('exit', (code) => reject(new Error(`docker-registry ended with ${code}:\n${said.join('\n')}`)));
  createInterface(child.stderr).on('line', (line) => {
    if (said.length < 100) said.push(line);
    const listening = /listening on ([\d.:[\]]+)/.exec(line);
    if (listening !== null) resolve(listening[1]!);
  });
  try {
    return new TestRegistry(await promise, folder, child, options);
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
