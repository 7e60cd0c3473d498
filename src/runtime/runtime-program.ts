import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { SyscallError, sealedCopy } from '../linux/index.ts';

/** What is run for a runtime, and what its process has to be given for that. */
export interface RuntimeProgram {
  path: string;
  /** Our descriptors, by the child's number. */
  descriptors: readonly (readonly [number, number])[];
}

interface Known {
  /** Which file it was. */
  identity: string;
  mayBeCopied: boolean;
  fd: number | undefined;
}

/** Those that look for the seals before they copy themselves. */
const copiesItself = new Set(['crun', 'runc']);
/** Their rules may know a program by its path. */
const LABELLING = ['/sys/kernel/security/apparmor', '/sys/fs/selinux/enforce'];
const NOEXEC = '/proc/sys/vm/memfd_noexec';
const ELF = '\x7fELF';

/** Programs of runtimes, those that have run here before as copies in memory. */
export class RuntimePrograms implements Disposable {
  readonly #known = new Map<string, Known>();
  readonly #hostAllows: () => boolean;

  constructor(hostAllows: () => boolean) {
    this.#hostAllows = hostAllows;
  }

  /**
   * crun and runc begin each run by copying themselves, or mounting themselves read-only, and running that, so that no container
   * can write to the program through /proc/PID/exe. A program that is a sealed memfd already goes on at once; so one copy is
   * kept for all runs. The first run in a process is the file's own: most commands need no second one, and a monitor that
   * outlives them would hold their copy.
   *
   * @param fd a number that is free in the child
   */
  find(path: string, fd: number): RuntimeProgram {
    const copy = copiesItself.has(basename(path)) ? this.#copyOf(path) : undefined;
    return copy === undefined ? { path, descriptors: [] } : { path: `/proc/self/fd/${fd}`, descriptors: [[fd, copy]] };
  }

  #copyOf(path: string): number | undefined {
    const identity = identityOf(path);
    if (identity === undefined) return undefined; // the run will say it
    const known = this.#known.get(path);
    if (known?.identity !== identity) {
      if (known?.fd !== undefined) closeSync(known.fd);
      this.#known.set(path, { identity, mayBeCopied: this.#hostAllows() && isElf(path), fd: undefined });
      return undefined;
    }
    if (known.fd === undefined && known.mayBeCopied) {
      known.mayBeCopied = false; // tried once
      known.fd = tryCopy(path);
    }
    return known.fd;
  }

  [Symbol.dispose](): void {
    for (const { fd } of this.#known.values()) if (fd !== undefined) closeSync(fd);
    this.#known.clear();
  }
}

function identityOf(path: string): string | undefined {
  const file = statSync(path, { throwIfNoEntry: false });
  return file && [file.dev, file.ino, file.size, file.mtimeMs, file.ctimeMs].join();
}

function tryCopy(path: string): number | undefined {
  try {
    return sealedCopy(path);
  } catch (error) {
    if (error instanceof SyscallError) return undefined;
    throw error;
  }
}

/** A script would be read by its path, which its interpreter does not have. */
function isElf(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(ELF.length);
    return readSync(fd, start) === start.length && start.toString('latin1') === ELF;
  } finally {
    closeSync(fd);
  }
}

let ofThisProcess: RuntimePrograms | undefined;

/** `RuntimePrograms.find`, for all engines of this process. */
export function runtimeProgram(path: string, fd: number): RuntimeProgram {
  ofThisProcess ??= new RuntimePrograms(
    () =>
      !LABELLING.some((place) => existsSync(place)) &&
      (!existsSync(NOEXEC) || readFileSync(NOEXEC, 'latin1').trim() === '0'),
  );
  return ofThisProcess.find(path, fd);
}
