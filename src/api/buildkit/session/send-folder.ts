import type { SentFolder } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import type { MessageStream } from './message-stream.ts';
import { decodePacket, encodeDataHead, encodeEntry, encodeShort, PacketType } from './packet.ts';

/** As BuildKit cuts files. */
const PIECE_BYTES = 32 << 10;

/** Sends a folder to whoever receives it by fsutil's protocol. Resolves when it has all that it wants. */
export async function sendFolder(call: MessageStream, folder: SentFolder): Promise<void> {
  /** Contents that the client wants, in the order of its asking. */
  const wanted: number[] = [];
  let wake = () => {};
  let isFinished = false;
  let isOver = false;
  let failure: unknown;
  const listening = (async () => {
    for await (const batch of call.batches()) {
      for (const message of batch) {
        const { type, id, data } = decodePacket(message);
        if (type === PacketType.REQ) wanted.push(id);
        else if (type === PacketType.FIN) isFinished = true;
        else if (type === PacketType.ERR)
          throw new TareError('Internal', `the receiver: ${Buffer.from(data).toString('utf8').slice(0, 4096)}`);
      }
      wake();
    }
  })().catch((error: unknown) => {
    failure = error;
  });
  void listening.then(() => {
    isOver = true;
    wake();
  });
  const sendEntries = async () => {
    for await (const entry of folder.entries) await call.send(encodeEntry(entry));
    await call.send(encodeShort(PacketType.STAT, 0));
  };
  const sendContents = async () => {
    while (!isFinished && !isOver) {
      const index = wanted.shift();
      if (index === undefined) await new Promise<void>((resolve) => (wake = resolve));
      else await sendContent(call, folder, index);
    }
  };
  try {
    await Promise.all([sendEntries(), sendContents()]);
    if (failure === undefined && isFinished) await call.send(encodeShort(PacketType.FIN, 0));
  } catch (error) {
    // The client's own words say more than that it does not listen any more.
    if (isOver && failure !== undefined) throw failure;
    throw error;
  }
  call.end();
  await listening;
  if (failure !== undefined) throw failure;
}

async function sendContent(call: MessageStream, folder: SentFolder, index: number): Promise<void> {
  for await (const chunk of folder.read(index)) {
    for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
      const piece = chunk.subarray(at, at + PIECE_BYTES);
      await call.send(encodeDataHead(index, piece.length), piece);
    }
  }
  await call.send(encodeDataHead(index, 0));
}
