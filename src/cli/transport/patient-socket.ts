import { Socket } from 'node:net';

type Done = (error?: Error | null) => void;

/**
 * A socket that can outlive a failed write. Node destroys a socket whose other end hangs up while we write, and with it
 * what that end said before: it may still wait in the kernel, to be read.
 */
export class PatientSocket extends Socket {
  /** Told when the other end takes no more; while it is set, that is no error, and reading goes on to the end. */
  onRefusedWrite: (() => void) | undefined;

  override _write(chunk: unknown, encoding: BufferEncoding, done: Done): void {
    super._write(chunk, encoding, this.#patient(done));
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], done: Done): void {
    super._writev?.(chunks, this.#patient(done));
  }

  #patient(done: Done): Done {
    return (error) => {
      const code = (error as NodeJS.ErrnoException | null | undefined)?.code;
      if (this.onRefusedWrite === undefined || (code !== 'EPIPE' && code !== 'ECONNRESET')) return done(error);
      this.onRefusedWrite();
      done();
    };
  }
}
