import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Certificate } from './certificates.ts';

/** What the proxy does to a request or its answer. */
export type Fault =
  /** The answer's connection is cut after so many bytes of its body. */
  | { kind: 'cut'; afterBytes: number }
  /** The connection is cut after so many bytes of the request's body; what came went on to the registry. */
  | { kind: 'cut-upload'; afterBytes: number }
  /** The connection is cut before an answer. */
  | { kind: 'refuse' }
  /** One byte of the answer's body is another. */
  | { kind: 'corrupt'; atByte: number }
  /** The answer says this length; its body is cut or filled up to it with zeros. */
  | { kind: 'length'; bytes: number }
  /** An answer of the proxy's own; the registry is not asked. */
  | { kind: 'answer'; status: number; headers?: Record<string, string>; body?: string | Uint8Array }
  /** The registry's answer with other headers (undefined: without), status or body. */
  | { kind: 'alter'; status?: number; headers?: Record<string, string | undefined>; body?: string | Uint8Array }
  /** An answer of so many bytes made up on the way. */
  | { kind: 'flood'; bytes: number; headers?: Record<string, string>; hasLength: boolean }
  /** The body comes in little pieces. */
  | { kind: 'drip'; bytes: number; everyMs: number }
  /** Nothing more comes: before the head of the answer, or after so many bytes of its body. */
  | { kind: 'stall'; afterBytes?: number }
  /** The registry is asked, and its answer is dropped with the connection. */
  | { kind: 'lose-answer' };

export interface Rule {
  method?: string;
  /** Over the path with its query. */
  path?: RegExp;
  /** Requests let through before it acts. Default 0. */
  skip?: number;
  /** How often it acts. Default: always. */
  times?: number;
  fault: Fault;
}

export interface SeenRequest {
  method: string;
  path: string;
  headers: http.IncomingHttpHeaders;
  /** Bytes of its body that came. */
  bytes: number;
}

export interface FaultProxyOptions {
  /** The proxy speaks TLS with this, whatever the registry speaks. */
  tls?: Certificate;
}

/** An HTTP proxy in front of a registry that harms what its rules name, and remembers what it was asked. */
export class FaultProxy implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  readonly #target: string;
  readonly #server: http.Server;
  readonly #sockets = new Set<Socket>();
  #accepted = 0;
  readonly #options: FaultProxyOptions;
  #rules: (Rule & { seen: number; done: number })[] = [];

  /** @param target the registry's url; without one, only faults answer */
  constructor(target: string, options: FaultProxyOptions) {
    this.#target = target;
    this.#options = options;
    const listener: http.RequestListener = (request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    };
    this.#server = options.tls === undefined ? http.createServer(listener) : https.createServer(options.tls, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      this.#accepted += 1;
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** host:port */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.address}`;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Connections since the start. */
  get accepted(): number {
    return this.#accepted;
  }

  add(...rules: Rule[]): void {
    for (const rule of rules) this.#rules.push({ ...rule, seen: 0, done: 0 });
  }

  /** Forgets the rules and what was seen. */
  clear(): void {
    this.#rules = [];
    this.requests.length = 0;
  }

  #faultFor(request: http.IncomingMessage): Fault | undefined {
    for (const rule of this.#rules) {
      if (rule.method !== undefined && rule.method !== request.method) continue;
      if (rule.path !== undefined && !rule.path.test(request.url!)) continue;
      if (rule.seen++ < (rule.skip ?? 0) || rule.done >= (rule.times ?? Number.POSITIVE_INFINITY)) continue;
      rule.done += 1;
      return rule.fault;
    }
    return undefined;
  }

  async #handle(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const seen: SeenRequest = { method: request.method!, path: request.url!, headers: request.headers, bytes: 0 };
    this.requests.push(seen);
    const fault = this.#faultFor(request);
    if (fault?.kind === 'refuse') return void request.socket.destroy();
    if (fault?.kind === 'stall' && fault.afterBytes === undefined) return void request.resume();
    if (fault?.kind === 'answer') {
      for await (const chunk of request) seen.bytes += (chunk as Buffer).length;
      response.writeHead(fault.status, fault.headers);
      return void response.end(request.method === 'HEAD' ? undefined : fault.body);
    }
    if (fault?.kind === 'flood') return await flood(response, fault);

    const upstream = this.#ask(request);
    const answered = once(upstream, 'response') as Promise<[http.IncomingMessage]>;
    answered.catch(() => response.destroy());
    response.once('close', () => upstream.destroy());
    const isCut = await sendOn(request, upstream, seen, fault);
    if (isCut) return;
    const [answer] = await answered;
    if (fault?.kind === 'lose-answer') {
      // The registry's work is done once its answer has come.
      answer.resume();
      return void request.socket.destroy();
    }
    await sendBack(answer, response, fault);
  }

  #ask(request: http.IncomingMessage): http.ClientRequest {
    const protocol = this.#target.startsWith('https:') ? https : http;
    return protocol.request(new URL(request.url!, this.#target), {
      method: request.method!,
      // Its Host is kept, so that the registry's own links lead through the proxy again.
      headers: request.headers,
      agent: false,
      rejectUnauthorized: false,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Until it takes more, or is gone. */
async function drained(stream: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = () => resolve();
  stream.once('drain', done).once('close', done);
  if (stream.destroyed) done();
  await promise;
  stream.off('drain', done).off('close', done);
}

async function flood(response: http.ServerResponse, fault: Extract<Fault, { kind: 'flood' }>): Promise<void> {
  response.writeHead(200, {
    ...fault.headers,
    ...(fault.hasLength ? { 'content-length': String(fault.bytes) } : {}),
  });
  const chunk = Buffer.alloc(65536, ' ');
  for (let sent = 0; sent < fault.bytes && !response.destroyed; sent += chunk.length) {
    const rest = chunk.subarray(0, Math.min(chunk.length, fault.bytes - sent));
    if (!response.write(rest)) await drained(response);
  }
  response.end();
}

/** @returns whether the connection was cut */
async function sendOn(
  request: http.IncomingMessage,
  upstream: http.ClientRequest,
  seen: SeenRequest,
  fault: Fault | undefined,
): Promise<boolean> {
  for await (const chunk of request as AsyncIterable<Buffer>) {
    const rest = fault?.kind === 'cut-upload' ? chunk.subarray(0, fault.afterBytes - seen.bytes) : chunk;
    seen.bytes += rest.length;
    if (!upstream.write(rest)) await drained(upstream);
    if (fault?.kind === 'cut-upload' && seen.bytes >= fault.afterBytes) {
      // What was written must reach the registry before the connection goes.
      await sleep(50);
      request.socket.destroy();
      upstream.destroy();
      return true;
    }
  }
  upstream.end();
  return false;
}

async function sendBack(answer: http.IncomingMessage, response: http.ServerResponse, fault: Fault | undefined) {
  const headers: http.OutgoingHttpHeaders = { ...answer.headers };
  let status = answer.statusCode!;
  if (fault?.kind === 'alter') {
    for (const [name, value] of Object.entries(fault.headers ?? {})) headers[name.toLowerCase()] = value;
    if (fault.body !== undefined) headers['content-length'] = String(Buffer.byteLength(fault.body));
    status = fault.status ?? status;
  }
  if (fault?.kind === 'length') headers['content-length'] = String(fault.bytes);
  for (const name of Object.keys(headers)) if (headers[name] === undefined) delete headers[name];
  // A length that lies is the fault itself.
  response.strictContentLength = false;
  response.writeHead(status, headers);
  if (fault?.kind === 'alter' && fault.body !== undefined) {
    answer.resume();
    return void response.end(fault.body);
  }
  let sent = 0;
  const write = async (chunk: Uint8Array): Promise<void> => {
    sent += chunk.length;
    if (!response.write(chunk)) await drained(response);
  };
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (response.destroyed) return;
    if (fault?.kind === 'cut' && sent + chunk.length >= fault.afterBytes) {
      await write(chunk.subarray(0, fault.afterBytes - sent));
      // What was written must reach the client before the connection goes.
      await sleep(20);
      return void response.destroy();
    }
    if (fault?.kind === 'stall' && sent + chunk.length >= fault.afterBytes!) {
      return await write(chunk.subarray(0, fault.afterBytes! - sent));
    }
    if (fault?.kind === 'corrupt' && fault.atByte >= sent && fault.atByte < sent + chunk.length) {
      chunk[fault.atByte - sent]! ^= 0xff;
    }
    if (fault?.kind === 'drip') {
      for (let at = 0; at < chunk.length && !response.destroyed; at += fault.bytes) {
        await write(chunk.subarray(at, at + fault.bytes));
        await sleep(fault.everyMs);
      }
    } else {
      await write(fault?.kind === 'length' ? chunk.subarray(0, Math.max(0, fault.bytes - sent)) : chunk);
    }
  }
  if (fault?.kind === 'length' && sent < fault.bytes) await write(Buffer.alloc(fault.bytes - sent));
  response.end();
}

/** @param target a registry, or anything else with a url */
export async function startFaultProxy(target: { url: string }, options: FaultProxyOptions = {}): Promise<FaultProxy> {
  const proxy = new FaultProxy(target.url, options);
  await proxy.listen();
  return proxy;
}
