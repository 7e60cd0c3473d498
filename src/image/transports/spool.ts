import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import type { Digest } from '../../storage/index.ts';
import { bytesAt, writeStream } from './file-bytes.ts';

/** Bytes in a nameless file, gone with their holder. */
export interface Spooled extends AsyncDisposable, Disposable {
  readonly fd: number;
  readonly digest: Digest;
  readonly sizeBytes: number;
  open(offset?: number): AsyncIterable<Buffer>;
}

/** Where large files may wait: as other container tools do, not in /tmp, which may be memory. */
function spoolFolder(): string {
  const named = process.env['TMPDIR'];
  if (named !== undefined && named !== '') return named;
  return existsSync('/var/tmp') ? '/var/tmp' : '/tmp';
}

/** Writes a stream to a nameless file and says what it was. */
export async function spool(bytes: AsyncIterable<Uint8Array>): Promise<Spooled> {
  const path = join(spoolFolder(), `tare-${randomBytes(12).toString('hex')}`);
  await using opening = new AsyncDisposableStack();
  const file = opening.use(await open(path, 'wx+', 0o600));
  await unlink(path);
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    const hashed = async function* () {
      for await (const chunk of bytes) {
        hash.update(chunk);
        sizeBytes += chunk.byteLength;
        yield chunk;
      }
    };
    await writeStream(file.fd, 0, hashed());
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOSPC') throw cause;
    throw new TareError(
      'Unavailable',
      `no space left on device in ${spoolFolder()}: free some, or name another folder in TMPDIR`,
      { cause },
    );
  }
  opening.move();
  return {
    fd: file.fd,
    digest: `sha256:${hash.digest('hex')}` as Digest,
    sizeBytes,
    open: (offset = 0) => bytesAt(file.fd, offset),
    [Symbol.asyncDispose]: () => file.close(),
    [Symbol.dispose]: () => void file.close(),
  };
}
