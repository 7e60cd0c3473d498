import { TareError } from '../../errors/index.ts';

/** How a body's bytes lie in its stream, and how far they were read; plain data. */
export interface BodyState {
  /** In blocks, each with its length before it (RFC 9112, section 7.1); else so many bytes as they are. */
  isChunked: boolean;
  phase: 'size' | 'data' | 'dataEnd' | 'trailer' | 'end';
  /** Of the current block, or of all. */
  leftBytes: number;
  /** A line's beginning. */
  line: string;
}

/** A block's length with its extensions, or one trailer. */
const LINE_BYTES = 4096;
const LARGEST_SIZE_DIGITS = 13;
const NEWLINE = 10;

/** @param sizeBytes undefined: it comes in blocks */
export const bodyState = (sizeBytes?: number): BodyState =>
  sizeBytes === undefined
    ? { isChunked: true, phase: 'size', leftBytes: 0, line: '' }
    : { isChunked: false, phase: sizeBytes === 0 ? 'end' : 'data', leftBytes: sizeBytes, line: '' };

/** Takes the bytes of a body out of its stream, piece by piece; can go on in another thread with a copy of its state. */
export class BodyDecoder {
  readonly state: BodyState;

  constructor(state: BodyState) {
    this.state = state;
  }

  get isAtEnd(): boolean {
    return this.state.phase === 'end';
  }

  /**
   * Moves the body's bytes to the front of a piece of the stream. What follows the body's end is dropped.
   * @returns how many they are
   * @throws {TareError} InvalidArgument: this is no body of that form
   */
  decode(piece: Buffer): number {
    const { state } = this;
    let filled = 0;
    for (let at = 0; at < piece.length && state.phase !== 'end'; ) {
      if (state.phase !== 'data') {
        at = this.#line(piece, at);
        continue;
      }
      const size = Math.min(state.leftBytes, piece.length - at);
      if (filled !== at) piece.copyWithin(filled, at, at + size);
      filled += size;
      at += size;
      state.leftBytes -= size;
      if (state.leftBytes === 0) state.phase = state.isChunked ? 'dataEnd' : 'end';
    }
    return filled;
  }

  /** @returns where to go on */
  #line(piece: Buffer, at: number): number {
    const { state } = this;
    const newline = piece.indexOf(NEWLINE, at);
    const end = newline === -1 ? piece.length : newline;
    if (state.line.length + end - at > LINE_BYTES) throw malformed('a line is too long');
    state.line += piece.toString('latin1', at, end);
    if (newline === -1) return end;
    const line = state.line.replace(/\r$/, '');
    state.line = '';
    if (state.phase === 'dataEnd') {
      if (line !== '') throw malformed('a chunk is longer than its size says');
      state.phase = 'size';
    } else if (state.phase === 'size') {
      const digits = /^([0-9a-fA-F]+)[ \t]*(?:;.*)?$/.exec(line)?.[1];
      if (digits === undefined || digits.length > LARGEST_SIZE_DIGITS) throw malformed('a chunk has no size');
      state.leftBytes = Number.parseInt(digits, 16);
      state.phase = state.leftBytes === 0 ? 'trailer' : 'data';
    } else if (line === '') state.phase = 'end';
    return newline + 1;
  }
}

const malformed = (problem: string): TareError =>
  new TareError('InvalidArgument', `the request's body is malformed: ${problem}`);
