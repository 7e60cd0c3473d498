import { closeSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { copyTo } from './copy.ts';

/**
 * Writes a file whole or not at all: into a neighbour that takes the name at the end. What is no regular file (a device, a pipe)
 * is written as it is.
 */
export async function writeFileSafely(path: string, body: AsyncIterable<Uint8Array>): Promise<void> {
  const existing = statSync(path, { throwIfNoEntry: false });
  const direct = existing !== undefined && !existing.isFile();
  const draft = direct ? path : join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  const descriptor = openSync(draft, direct ? 'w' : 'wx', 0o600);
  try {
    await copyTo(descriptor, body);
    if (direct) return;
    fsyncSync(descriptor);
    renameSync(draft, path);
  } catch (error) {
    if (!direct) rmSync(draft, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
}
