import { Duplex } from 'node:stream';
import type { MessageStream } from './message-stream.ts';
import { decodeBytesMessage, encodeBytesHead } from './packet.ts';

/** A connection through a call whose messages are pieces of bytes, both ways. */
export function callDuplex(call: MessageStream): Duplex {
  const batches = call.batches();
  return new Duplex({
    allowHalfOpen: true,
    read() {
      batches.next().then(
        ({ done, value }) => {
          if (done) this.push(null);
          else for (const message of value) this.push(decodeBytesMessage(message));
        },
        (error: Error) => this.destroy(error),
      );
    },
    write(chunk: Buffer, _encoding, callback) {
      call.send(encodeBytesHead(chunk.length), chunk).then(() => callback(), callback);
    },
    final(callback) {
      call.end();
      callback();
    },
    destroy(error, callback) {
      call[Symbol.dispose]();
      callback(error);
    },
  });
}
