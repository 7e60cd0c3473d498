import { parentPort } from 'node:worker_threads';
import { carried } from '../../../errors/index.ts';
import { FolderChanges } from './folder-changes.ts';
import type { FolderAnswer, FolderMessage } from './folder-orders.ts';

// Tens of thousands of system calls, which would hold the main thread while it reads what comes next.

let changes: FolderChanges | undefined;

function done(message: FolderMessage): number {
  switch (message.type) {
    case 'open':
      changes = new FolderChanges(message.target, message.copyFrom);
      return 0;
    case 'batch': {
      let copied = 0;
      for (const order of message.orders) copied += changes!.apply(order, message.bytes);
      return copied;
    }
    case 'close':
      changes?.[Symbol.dispose]();
      changes = undefined;
      return 0;
  }
}

parentPort?.on('message', (message: FolderMessage) => {
  const answer = (said: FolderAnswer): void => parentPort?.postMessage(said);
  try {
    answer({ copiedBytes: done(message) });
  } catch (error) {
    answer({ error: carried(error) });
  }
});
