import { closeSync, fchmodSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import type { AuditEntry } from '../../api/docker/index.ts';
import type { ServeSettings } from '../../engine/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';

export interface AuditLogOptions {
  path: string;
  /** The file is put aside when it would grow beyond. */
  maxBytes: number;
  /** Files kept, the current one included: `PATH`, `PATH.1`, … */
  maxFiles: number;
}

const DEFAULT_AUDIT_LIMITS = { maxBytes: 10 * 2 ** 20, maxFiles: 5 };

/**
 * A file of JSON lines, one a request. A line is in the file when its request is answered; what cannot be written is reported, and
 * does not keep the engine from answering.
 */
export class AuditLog implements Disposable {
  readonly #options: AuditLogOptions;
  readonly #report: (error: unknown) => void;
  #fd: number | undefined;
  #bytes = 0;

  /** @throws {TareError} InvalidArgument: the file cannot be opened */
  constructor(options: AuditLogOptions, report: (error: unknown) => void) {
    this.#options = options;
    this.#report = report;
    try {
      this.#open();
    } catch (cause) {
      throw new TareError('InvalidArgument', `audit log ${options.path}: ${messageOf(cause)}`, { cause });
    }
  }

  write(entry: AuditEntry): void {
    try {
      const line = Buffer.from(`${JSON.stringify(entry)}\n`);
      if (this.#bytes > 0 && this.#bytes + line.length > this.#options.maxBytes) this.#rotate();
      if (this.#fd === undefined) this.#open();
      this.#bytes += writeSync(this.#fd!, line);
    } catch (error) {
      this.#report(error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): void {
    const fd = openSync(this.#options.path, 'a', 0o600);
    fchmodSync(fd, 0o600);
    this.#fd = fd;
    this.#bytes = fstatSync(fd).size;
  }

  #rotate(): void {
    const { path, maxFiles } = this.#options;
    this[Symbol.dispose]();
    for (let number = maxFiles - 1; number > 1; number--) renameIfThere(`${path}.${number - 1}`, `${path}.${number}`);
    if (maxFiles > 1) renameIfThere(path, `${path}.1`);
    else rmSync(path, { force: true });
    this.#open();
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

const units: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };
const LEAST_BYTES = 64 * 1024;
const MOST_FILES = 1000;

/**
 * How the flag and the configuration file want an audit log.
 * @returns undefined: not at all
 * @throws {TareError} InvalidArgument: a size or a count that is none
 */
export function auditOptionsOf(
  flag: string | undefined,
  file: ServeSettings['audit'] = {},
): AuditLogOptions | undefined {
  const path = flag ?? file.path;
  if (path === undefined) return undefined;
  const [, number, unit] = /^(\d{1,12})([kmg]?)b?$/i.exec(file['max-size'] ?? '') ?? [];
  const maxBytes =
    file['max-size'] === undefined
      ? DEFAULT_AUDIT_LIMITS.maxBytes
      : Number(number ?? 0) * units[(unit ?? '').toLowerCase()]!;
  const maxFiles = Number(file['max-files'] ?? DEFAULT_AUDIT_LIMITS.maxFiles);
  if (maxBytes < LEAST_BYTES)
    throw new TareError(
      'InvalidArgument',
      `invalid audit max-size ${file['max-size']}: want bytes such as 10m, 64k at least`,
    );
  if (!Number.isSafeInteger(maxFiles) || maxFiles < 1 || maxFiles > MOST_FILES)
    throw new TareError('InvalidArgument', `invalid audit max-files ${file['max-files']}: want 1 to ${MOST_FILES}`);
  return { path: resolve(path), maxBytes, maxFiles };
}
