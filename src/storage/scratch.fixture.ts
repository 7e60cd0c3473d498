import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeHeader, endOfArchive, padding, type TarEntry } from './tar/index.ts';

/** A folder for one test, gone at the end of its scope. */
export function scratch(): Disposable & { path: string } {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'tare-storage-')));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** An entry for `tar`: a header, with the bytes of a file. */
export type TestEntry = TarEntry & { body?: string | Buffer };

/** A whole archive. */
export function tar(...entries: (TestEntry | Buffer)[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    if (Buffer.isBuffer(entry)) {
      parts.push(entry);
      continue;
    }
    const body = Buffer.from(entry.body ?? '');
    parts.push(encodeHeader({ ...entry, sizeBytes: entry.sizeBytes ?? body.length }), body, padding(body.length));
  }
  return Buffer.concat([...parts, endOfArchive()]);
}

export const file = (path: string, body: string | Buffer = '', more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  type: 'file',
  body,
  ...more,
});
export const folder = (path: string, more: Partial<TestEntry> = {}): TestEntry => ({
  path,
  type: 'directory',
  mode: 0o755,
  ...more,
});
export const link = (path: string, linkTarget: string): TestEntry => ({ path, type: 'link', linkTarget });
export const hardlink = (path: string, linkTarget: string): TestEntry => ({ path, type: 'hardlink', linkTarget });
export const whiteout = (path: string): TestEntry => ({ path, type: 'file', body: '' });

/** The pieces of a buffer as a stream, cut at an awkward size. */
export async function* streamOf(bytes: Uint8Array, pieceBytes = 1000): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
