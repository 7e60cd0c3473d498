import { closeSync, openSync, readSync } from 'node:fs';

// One buffer serves every file of the thread: a read is decoded before the next one starts.
let buffer = Buffer.allocUnsafe(16384);

/**
 * A small file of /proc or a cgroup that is read again and again. It stays open, so a read is one system call; the kernel
 * writes its text anew each time. An open file does not keep a cgroup from being removed.
 */
export class KernelFile implements Disposable {
  #fd: number | undefined;

  constructor(path: string) {
    this.#fd = openOrUndefined(path);
  }

  /** The whole text; undefined when the file is not there, or its cgroup or process is gone. */
  read(): string | undefined {
    return this.#fd === undefined ? undefined : readAll(this.#fd);
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** Reads such a file once. */
export function readKernelFile(path: string): string | undefined {
  using file = new KernelFile(path);
  return file.read();
}

function openOrUndefined(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function readAll(fd: number): string | undefined {
  try {
    let length = 0;
    for (;;) {
      const size = readSync(fd, buffer, length, buffer.length - length, length);
      length += size;
      if (size === 0) return buffer.toString('latin1', 0, length);
      if (length === buffer.length) buffer = Buffer.concat([buffer], buffer.length * 2);
    }
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

// ENODEV: the cgroup is gone. ESRCH, EINVAL: so is the process. EOPNOTSUPP: the kernel has the file but not its subject.
const goneCodes = new Set(['ENOENT', 'ENOTDIR', 'ENODEV', 'ESRCH', 'EINVAL', 'EOPNOTSUPP']);
const isGone = (error: unknown) => goneCodes.has((error as NodeJS.ErrnoException).code ?? '');
