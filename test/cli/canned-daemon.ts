import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Recorded {
  method: string;
  /** Without the API's version. */
  path: string;
  query: Record<string, string>;
  /** Parsed when it is JSON. */
  body: unknown;
  /** What X-Registry-Auth says. */
  auth?: unknown;
}

/** An answer that depends on what was asked: with a status, or in pieces that are sent as they come. */
export type Answering = (request: Recorded) => { status?: number; body: unknown } | AsyncIterable<string>;

/** Answers of the Docker Engine API by `METHOD /path`; `*` ends a prefix. Text is sent as it is, anything else as JSON. */
export type Answers = Record<string, unknown | Answering>;

/** A daemon that answers what it is told to and remembers what it was asked: two clients can be compared on it. */
export class CannedDaemon implements AsyncDisposable {
  readonly address: string;
  requests: Recorded[] = [];
  readonly #server: Server;
  readonly #folder: string;

  private constructor(server: Server, folder: string) {
    this.#server = server;
    this.#folder = folder;
    this.address = `unix://${folder}/socket`;
  }

  static async start(answers: Answers): Promise<CannedDaemon> {
    const folder = mkdtempSync(join(tmpdir(), 'tare-canned-'));
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const url = new URL(request.url!, 'http://daemon');
      const path = decodeURIComponent(url.pathname.replace(/^\/v1\.\d+/, ''));
      const isJson = (request.headers['content-type'] ?? '').includes('json') && text !== '';
      const auth = request.headers['x-registry-auth'];
      const recorded: Recorded = {
        method: request.method!,
        path,
        query: Object.fromEntries(
          [...url.searchParams.keys()].map((name) => [name, url.searchParams.getAll(name).join('\n')]),
        ),
        body: isJson ? JSON.parse(text) : text,
        ...(typeof auth === 'string' && auth !== ''
          ? { auth: JSON.parse(Buffer.from(auth, 'base64url').toString()) }
          : {}),
      };
      if (path !== '/_ping') daemon.requests.push(recorded);
      response.setHeader('api-version', '1.51');
      response.setHeader('ostype', 'linux');
      response.setHeader('content-type', 'application/json');
      const key = `${request.method} ${path}`;
      const found =
        Object.keys(answers).find((name) => name === key) ??
        Object.keys(answers).find((name) => name.endsWith('*') && key.startsWith(name.slice(0, -1)));
      const answer = path === '/_ping' ? 'OK' : found === undefined ? {} : answers[found];
      const made = typeof answer === 'function' ? (answer as Answering)(recorded) : { body: answer };
      if (Symbol.asyncIterator in made) {
        for await (const piece of made) response.write(piece);
        response.end();
        return;
      }
      response.statusCode = made.status ?? 200;
      response.end(typeof made.body === 'string' ? made.body : JSON.stringify(made.body));
    });
    const daemon = new CannedDaemon(server, folder);
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve));
    return daemon;
  }

  /** What was asked since the last call. */
  take(): Recorded[] {
    return this.requests.splice(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
