import { Duplex } from 'node:stream';
import type { control } from '../../protocol/index.ts';

/** A connection whose bytes travel in messages: what comes in is read from it, what is written to it is the output. */
export function tunnel(messages: AsyncIterable<control.BytesMessage>): {
  duplex: Duplex;
  output: AsyncIterable<Uint8Array>;
} {
  const input = messages[Symbol.asyncIterator]();
  let written: { chunk: Uint8Array; done: (error?: Error | null) => void } | undefined;
  let isEnded = false;
  let wake = () => {};
  const duplex = new Duplex({
    read() {
      input.next().then(
        ({ done, value }) => void this.push(done ? null : value.data),
        (error: Error) => void this.destroy(error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      written = { chunk, done };
      wake();
    },
    final(done) {
      isEnded = true;
      wake();
      done();
    },
    destroy(error, done) {
      isEnded = true;
      wake();
      done(error);
    },
  });
  duplex.on('error', () => {}); // 'close' follows
  async function* output(): AsyncGenerator<Uint8Array, void> {
    for (;;) {
      if (written) {
        const { chunk, done } = written;
        written = undefined;
        yield chunk;
        done();
      } else if (isEnded) return;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
  }
  return { duplex, output: output() };
}
