import { TareError } from '../../errors/index.ts';

export interface Head {
  status: number;
  /** Lower-case names; repeated ones are joined with `, `. */
  headers: Record<string, string>;
}

export interface ResponseEvents {
  head(head: Head): void;
  /** A view into the chunk that was fed. */
  data(bytes: Uint8Array): void;
  end(): void;
}

/** A head, a chunk-size line with its extensions, or trailers longer than this are refused. */
const MAX_HEAD = 64 * 1024;
const CR = 13;
const LF = 10;

type State =
  | 'head'
  | 'length'
  | 'chunk-size'
  | 'chunk-data'
  | 'chunk-end'
  | 'trailers'
  | 'until-close'
  | 'done'
  | 'raw';

/**
 * Reads one HTTP/1.1 response from bytes as they come (RFC 9112: sections 2, 4, 6, 7.1).
 * Answers 1xx but 101 are skipped. A response is delimited by its Content-Length, its chunks, or the connection's end.
 */
export class ResponseParser {
  readonly #events: ResponseEvents;
  readonly #bodyless: boolean;
  readonly #upgrades: boolean;
  #state: State = 'head';
  /** Text of an unfinished line, or of the unfinished head. */
  #pending: Buffer = Buffer.alloc(0);
  #left = 0;
  #trailerBytes = 0;

  /**
   * @param options.bodyless the request was a HEAD
   * @param options.upgrades hand the connection over after a 101 or 200 head: what follows is not parsed
   */
  constructor(events: ResponseEvents, options: { bodyless?: boolean; upgrades?: boolean } = {}) {
    this.#events = events;
    this.#bodyless = options.bodyless ?? false;
    this.#upgrades = options.upgrades ?? false;
  }

  /**
   * Takes the next bytes.
   *
   * @returns bytes behind the response: for an upgrade the first of the raw stream, else what the other end had no business to send
   * @throws {TareError} Unavailable: not HTTP/1
   */
  feed(bytes: Uint8Array): Uint8Array {
    let rest = bytes;
    while (rest.length > 0 && this.#state !== 'done' && this.#state !== 'raw') rest = this.#step(rest);
    return rest;
  }

  /** The connection ended. @throws {TareError} Unavailable: in the middle of the response */
  finish(): void {
    if (this.#state === 'until-close') this.#done();
    else if (this.#state !== 'done' && this.#state !== 'raw')
      throw new TareError('Unavailable', 'the connection was closed before the answer was complete');
  }

  #step(bytes: Uint8Array): Uint8Array {
    switch (this.#state) {
      case 'head':
        return this.#head(bytes);
      case 'length':
      case 'chunk-data': {
        const part = bytes.subarray(0, Math.min(bytes.length, this.#left));
        this.#left -= part.length;
        this.#events.data(part);
        if (this.#left === 0) {
          if (this.#state === 'length') this.#done();
          else this.#state = 'chunk-end';
        }
        return bytes.subarray(part.length);
      }
      case 'until-close':
        this.#events.data(bytes);
        return bytes.subarray(bytes.length);
      case 'chunk-size':
        return this.#line(bytes, (line) => this.#startChunk(line));
      case 'chunk-end':
        return this.#line(bytes, (line) => {
          if (line !== '') throw malformed(`a chunk is longer than it said (${JSON.stringify(line.slice(0, 40))})`);
          this.#state = 'chunk-size';
        });
      case 'trailers':
        return this.#line(bytes, (line) => {
          this.#trailerBytes += line.length + 2;
          if (this.#trailerBytes > MAX_HEAD) throw malformed('its trailers are longer than 64 KiB');
          if (line === '') this.#done();
        });
      default:
        return bytes;
    }
  }

  #head(bytes: Uint8Array): Uint8Array {
    const before = this.#pending.length;
    const all =
      before === 0 ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) : Buffer.concat([this.#pending, bytes]);
    // The end may straddle the pieces: look again at the last three bytes of the old one.
    const end = endOfHead(all, Math.max(0, before - 3));
    if (end < 0) {
      if (all.length > MAX_HEAD) throw malformed('its head is longer than 64 KiB');
      this.#pending = Buffer.from(all);
      return bytes.subarray(bytes.length);
    }
    if (end > MAX_HEAD) throw malformed('its head is longer than 64 KiB');
    this.#pending = Buffer.alloc(0);
    const head = parseHead(all.toString('latin1', 0, end));
    const rest = all.subarray(end);
    if (head.status >= 100 && head.status < 200 && head.status !== 101) return rest;
    this.#begin(head);
    return rest;
  }

  #begin(head: Head): void {
    if (this.#upgrades && (head.status === 101 || head.status === 200)) this.#state = 'raw';
    else if (this.#bodyless || head.status === 204 || head.status === 304) this.#state = 'done';
    else {
      const length = head.headers['content-length'];
      const coding = head.headers['transfer-encoding'];
      if (coding !== undefined) {
        if (coding.toLowerCase() !== 'chunked')
          throw malformed(`its transfer coding ${JSON.stringify(coding)} is unknown`);
        this.#state = 'chunk-size';
      } else if (length !== undefined) {
        if (!/^\d{1,15}$/.test(length)) throw malformed(`its Content-Length is ${JSON.stringify(length)}`);
        this.#left = Number(length);
        this.#state = this.#left === 0 ? 'done' : 'length';
      } else this.#state = 'until-close';
    }
    const ended = this.#state === 'done';
    this.#events.head(head);
    if (ended) this.#events.end();
  }

  #startChunk(line: string): void {
    const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;|$)/.exec(line)?.[1];
    if (size === undefined) throw malformed(`a chunk's size is ${JSON.stringify(line.slice(0, 40))}`);
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? 'trailers' : 'chunk-data';
  }

  /** Collects one line; takes it without its CRLF (a bare LF is accepted, RFC 9112 section 2.2). */
  #line(bytes: Uint8Array, take: (line: string) => void): Uint8Array {
    const newline = bytes.indexOf(LF);
    const part = newline < 0 ? bytes : bytes.subarray(0, newline);
    if (this.#pending.length + part.length > MAX_HEAD) throw malformed('a line is longer than 64 KiB');
    const line = this.#pending.length === 0 ? Buffer.from(part) : Buffer.concat([this.#pending, part]);
    if (newline < 0) {
      this.#pending = line;
      return bytes.subarray(bytes.length);
    }
    this.#pending = Buffer.alloc(0);
    take(line.toString('latin1', 0, line.at(-1) === CR ? line.length - 1 : line.length));
    return bytes.subarray(newline + 1);
  }

  #done(): void {
    this.#state = 'done';
    this.#events.end();
  }
}

/** Index behind the empty line that ends a head, -1 when it is not there yet. */
function endOfHead(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === LF) return at + 2;
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

function parseHead(text: string): Head {
  const [first = '', ...lines] = text.split(/\r?\n/);
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
  if (status === undefined) throw malformed(`it begins with ${JSON.stringify(first.slice(0, 60))}`);
  const headers: Record<string, string> = Object.create(null);
  for (const line of lines) {
    if (line === '') continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    if (colon < 1 || !/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name))
      throw malformed(`a header line is ${JSON.stringify(line.slice(0, 60))}`);
    const value = line.slice(colon + 1).trim();
    // A body delimited twice is how requests and answers are smuggled; equal repetitions are harmless.
    if (name === 'content-length' && headers[name] !== undefined && headers[name] !== value)
      throw malformed('it has two different Content-Lengths');
    headers[name] = headers[name] === undefined || name === 'content-length' ? value : `${headers[name]}, ${value}`;
  }
  return { status: Number(status), headers };
}

function malformed(what: string): TareError {
  return new TareError('Unavailable', `the daemon's answer is not HTTP: ${what}; is something else listening there?`);
}
