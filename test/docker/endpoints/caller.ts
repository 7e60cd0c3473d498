import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { expect } from 'vitest';
import type { DockerEndpoint } from '../../support/docker-endpoints.ts';
import { objectionTo, operations } from './description.ts';

export interface CallOptions {
  /** For `{id}` or `{name}`. */
  of?: string;
  query?: Record<string, string | number | boolean | object | string[]>;
  /** JSON, or bytes as they are. */
  body?: object | Uint8Array;
  headers?: Record<string, string>;
  /** `1.NN`; the newest by default. Older answers are not checked against the description of the newest. */
  version?: string;
  /** Status that the call must have; default: the lowest that is described. */
  expect?: number;
}

export interface Answer<T> {
  status: number;
  headers: IncomingHttpHeaders;
  bytes: Buffer;
  /** undefined unless it is JSON. */
  body: T;
  /** Of an error. */
  message: string;
  /** The documents of a stream. */
  lines: Record<string, unknown>[];
}

/**
 * Calls a daemon over plain HTTP. Every answer is compared with the description: status, content type, each field. What was
 * called is remembered, so that a file of tests can say that nothing of its endpoints is left out.
 */
export class Caller {
  readonly #socket: () => string;
  readonly #called = new Set<string>();

  constructor(socket: () => string) {
    this.#socket = socket;
  }

  async call<T = Record<string, never>>(endpoint: DockerEndpoint, options: CallOptions = {}): Promise<Answer<T>> {
    const operation = operations.get(endpoint);
    if (operation === undefined) throw new Error(`no such endpoint: ${endpoint}`);
    const wanted = options.expect ?? Math.min(...Object.keys(operation.answers ?? {}).map(Number));
    const answer = await this.send<T>(endpoint, options);
    expect(answer.status, `${endpoint} ${JSON.stringify(options.query ?? {})}: ${answer.message}`).toBe(wanted);
    this.#called.add(`${endpoint} ${answer.status}`);
    for (const name of Object.keys(options.query ?? {})) this.#called.add(`${endpoint} ?${name}`);
    expect(answer.headers).toMatchObject({ 'api-version': '1.51', 'docker-experimental': 'false', ostype: 'linux' });
    expect(answer.headers.server).toMatch(/^Tare\//);
    if (answer.status >= 400 && !endpoint.startsWith('HEAD')) {
      expect(answer.headers['content-type']).toBe('application/json');
      expect(answer.body).toEqual({ message: expect.stringMatching(/./) });
    }
    if (options.version === undefined && answer.body !== undefined) {
      const objection = objectionTo(endpoint, answer.status, answer.body);
      if (objection !== undefined) throw new Error(`${endpoint} ${answer.status}:\n${objection}`);
    }
    return answer;
  }

  /** The same without a judgement. */
  send<T>(endpoint: string, options: CallOptions = {}): Promise<Answer<T>> {
    const [method, path] = endpoint.split(' ') as [string, string];
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(options.query ?? {})) {
      for (const one of Array.isArray(value) ? value : [value]) {
        query.append(name, typeof one === 'object' ? JSON.stringify(one) : String(one));
      }
    }
    const target = path.replace(/\{\w+\}/, () => (options.of ?? '').split('/').map(encodeURIComponent).join('/'));
    const isBytes = options.body instanceof Uint8Array;
    const body = options.body === undefined || isBytes ? options.body : JSON.stringify(options.body);
    const { promise, resolve, reject } = Promise.withResolvers<Answer<T>>();
    const sent = httpRequest(
      {
        socketPath: this.#socket(),
        method,
        path: `${options.version === undefined ? '' : `/v${options.version}`}${target}${query.size > 0 ? `?${query}` : ''}`,
        headers: {
          host: 'docker',
          connection: 'close',
          ...(body !== undefined && {
            'content-type': isBytes ? 'application/x-tar' : 'application/json',
            'content-length': String(Buffer.byteLength(body as string)),
          }),
          ...options.headers,
        },
      },
      (response) => {
        buffer(response).then((bytes) => {
          const type = response.headers['content-type'] ?? '';
          const parsed = type.startsWith('application/json') ? documents(bytes) : [];
          const whole = parsed.length === 1 ? parsed[0] : undefined;
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            bytes,
            body: whole as T,
            message: String((whole as { message?: unknown } | undefined)?.message ?? ''),
            lines: parsed as Record<string, unknown>[],
          });
        }, reject);
      },
    );
    sent.once('error', reject);
    sent.end(body);
    return promise;
  }

  /** What of these endpoints no call had: statuses (but those of a broken engine) and query parameters. */
  leftOut(endpoints: readonly DockerEndpoint[]): string[] {
    return endpoints.flatMap((endpoint) => {
      const { answers = {}, query = [] } = operations.get(endpoint) ?? {};
      const all = [
        ...Object.keys(answers).map((status) => `${endpoint} ${status}`),
        ...query.map((name) => `${endpoint} ?${name}`),
      ];
      return all.filter((one) => !one.endsWith(' 500') && !this.#called.has(one));
    });
  }
}

const documents = (bytes: Buffer): unknown[] => {
  const text = bytes.toString();
  try {
    return [JSON.parse(text)];
  } catch {
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line));
  }
};
