import type { TarHeader } from './header.ts';
import { TarParser } from './parser.ts';

/** An entry of a tar that is being read; its `body` must be read (or left) before the next entry is asked for. */
export interface TarStreamEntry {
  header: TarHeader;
  /** The file's bytes; holes read as zeros. */
  body: AsyncIterable<Uint8Array>;
}

/**
 * Reads a tar stream entry by entry, in constant memory and at the reader's pace. What a reader leaves of a body is
 * skipped. The chunks are views, valid until the next one is asked for.
 *
 * @throws {TareError} InvalidArgument: malformed or truncated
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarStreamEntry, void, void> {
  const parser = new TarParser();
  const input = source[Symbol.asyncIterator]();
  const more = async (): Promise<void> => {
    const { value, done } = await input.next();
    if (done) parser.end();
    else parser.push(value);
  };
  try {
    let isInside = false;
    for (;;) {
      const step = parser.next();
      if (step === 'more') await more();
      else if (step === 'finished') break;
      else if (step === 'entryEnd') isInside = false;
      else if (step === 'entry') {
        isInside = true;
        const { header } = parser;
        const body = (async function* () {
          let position = 0;
          while (isInside) {
            const inner = parser.next();
            if (inner === 'more') await more();
            else if (inner === 'data') {
              yield* zeros(parser.offset - position);
              position = parser.offset + parser.chunk.length;
              yield parser.chunk;
            } else {
              isInside = false;
              yield* zeros(header.sizeBytes - position);
            }
          }
        })();
        yield { header, body };
      }
    }
    // Drained, so that the sender of a pipe or request does not meet a closed end.
    while (!(await input.next()).done);
  } finally {
    await input.return?.();
  }
}

const hole = Buffer.alloc(64 * 1024);

function* zeros(length: number): Generator<Uint8Array, void, void> {
  for (let left = length; left > 0; left -= hole.length) yield hole.subarray(0, Math.min(left, hole.length));
}
