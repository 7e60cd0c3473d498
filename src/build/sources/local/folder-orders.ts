import type { CarriedError } from '../../../errors/index.ts';
import type { ByteString } from '../../../linux/index.ts';
import type { CheckedEntry } from './sent-entry.ts';

/** What is done to a folder, one after the other. */
export type FolderOrder =
  /** Makes a folder, or dresses one that is there. Its times come by `times`. */
  | { act: 'folder'; entry: CheckedEntry; isThere: boolean }
  | { act: 'remove'; path: ByteString }
  /** A symbolic link, a pipe, a device. */
  | { act: 'node'; entry: CheckedEntry }
  /** A whole file: bytes of the batch. */
  | { act: 'file'; entry: CheckedEntry; start: number; end: number }
  /** The same from the folder on this machine that is read. */
  | { act: 'copy'; entry: CheckedEntry }
  /** A file that comes in pieces: begun, a piece, its end. */
  | { act: 'begin'; id: number; entry: CheckedEntry }
  | { act: 'piece'; id: number; start: number; end: number }
  | { act: 'end'; id: number }
  | { act: 'hardlink'; path: ByteString; target: ByteString }
  | { act: 'times'; path: ByteString; modifiedNs: bigint };

export type FolderMessage =
  /** @param copyFrom the folder that `copy` reads */
  | { type: 'open'; target: string; copyFrom: string | undefined }
  | { type: 'batch'; orders: readonly FolderOrder[]; bytes: Uint8Array }
  | { type: 'close' };

/** One for each message. */
export type FolderAnswer = { copiedBytes: number } | { error: CarriedError };
