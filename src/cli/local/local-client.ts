import { type Duplex, duplexPair } from 'node:stream';
import { type Api, type ApiResponse, createApi } from '../../api/docker/index.ts';
import type { Engine } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { apiError, queryText, type Request, type Response, type Transport } from '../transport/client.ts';
import { VERSION } from '../version.ts';
import { configFrom, openEngine } from './open-engine.ts';

/** The Docker Engine API answered in this process, without a socket between. */
export class LocalClient implements Transport {
  readonly local = true;
  readonly address = 'the engine in this process';
  readonly #engine: Engine;
  readonly #api: Api;
  /** Aborted when the command is over: nobody reads answers any more. */
  readonly #over = new AbortController();

  private constructor(engine: Engine) {
    this.#engine = engine;
    this.#api = createApi(engine, { version: VERSION });
  }

  /** @throws {TareError} what keeps the engine from opening */
  static async open(globals: GlobalValues): Promise<LocalClient> {
    return new LocalClient(await openEngine(configFrom(globals), { asUser: true }));
  }

  async request(request: Request): Promise<Response> {
    const answer = await this.#handle(request);
    return { status: answer.status, headers: answer.headers, body: bodyOf(answer) };
  }

  async upgrade(request: Request): Promise<Duplex> {
    const answer = await this.#handle({
      ...request,
      headers: { ...request.headers, connection: 'Upgrade', upgrade: 'tcp' },
    });
    if (!answer.upgrade) throw await apiError({ status: answer.status, headers: answer.headers, body: bodyOf(answer) });
    const [ours, theirs] = duplexPair();
    answer.upgrade(theirs, answer.headers).catch((error: unknown) => ours.destroy(error as Error));
    return ours;
  }

  async close(): Promise<void> {
    this.#over.abort();
    await this.#engine[Symbol.asyncDispose]();
  }

  async #handle(request: Request): Promise<ApiResponse> {
    // Who waits for an end records it as well: conmon's exit command would need a process of its own for that.
    if (request.path.endsWith('/wait')) this.#engine.watchExits();
    return await this.#api.handle({
      method: request.method,
      path: request.path,
      query: new URLSearchParams(queryText(request.query)),
      headers: joined(request.headers ?? {}),
      body: chunks(request.body),
      signal: request.signal ? AbortSignal.any([request.signal, this.#over.signal]) : this.#over.signal,
    });
  }
}

/** Lists as one field, as the API reads several of a name. */
const joined = (headers: NonNullable<Request['headers']>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? value : value.join(', ')]),
  );

async function* chunks(body: Request['body']): AsyncGenerator<Uint8Array> {
  if (body === undefined) return;
  if (typeof body === 'string') yield Buffer.from(body);
  else if (body instanceof Uint8Array) yield body;
  else yield* body;
}

async function* bodyOf({ body }: ApiResponse): AsyncGenerator<Uint8Array> {
  if (body === undefined) return;
  if (body instanceof Uint8Array) yield body;
  else yield* body;
}
