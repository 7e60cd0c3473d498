import { expect, test } from 'vitest';
import type { MessageStream } from './message-stream.ts';
import { encodeEntry } from './packet.ts';
import { ReceivedFolder } from './received-folder.ts';

test('a client that names files for ever and sends none of those asked for is cut off', async () => {
  const entry = encodeEntry({
    path: 'x'.repeat(1 << 20),
    mode: 0o100644,
    uid: 0,
    gid: 0,
    sizeBytes: 1,
    modifiedNs: 0n,
  });
  let sent = 0;
  const call: MessageStream = {
    send: async () => {},
    end: () => {},
    async *batches() {
      for (; sent < 2_000; sent += 1) {
        yield [entry];
        await new Promise(setImmediate);
      }
    },
    [Symbol.dispose]: () => {},
  };
  await using folder = new ReceivedFolder(call);
  const asked = folder.read(0)[Symbol.asyncIterator]().next();
  await expect(asked).rejects.toThrow(/names more and more files/);
  expect(sent).toBeLessThan(300);
});
