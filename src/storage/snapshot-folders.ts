import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TareError } from '../errors/index.ts';
import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, toByteString, unmountIfMounted } from '../linux/index.ts';
import type { LayerName } from './digest.ts';
import { paced } from './tree/pace.ts';
import { removeSteps } from './tree/remove.ts';

/** What is known of a snapshot. */
export interface SnapshotRecord {
  /** Base first. */
  parents: readonly LayerName[];
  /** Without the skeleton below. */
  isBare?: boolean;
}

const keyPattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$/;

/** In a hidden folder: where a tree is mounted. */
export const SHOWN = 'shown';

/** Snapshots being removed have a name that no key can have. What a store made for a moment has the store's id in it. */
const REMOVING = '.removing-';
const HIDDEN = /^\.removing-([0-9a-f]{24})-[0-9a-f]{16}$/;

const isCode = (error: unknown, code: string): boolean => (error as { code?: unknown } | null)?.code === code;

/** The folders of snapshots and their records, by key. */
export class SnapshotFolders {
  readonly #directory: string;
  /** Removed snapshots whose files are still going. */
  #emptying: Promise<void> = Promise.resolve();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** @throws {TareError} InvalidArgument: no key */
  path(key: string): string {
    if (!keyPattern.test(key)) {
      throw new TareError(
        'InvalidArgument',
        `invalid snapshot key ${JSON.stringify(key)}: want letters, digits, _, . and -`,
      );
    }
    return join(this.#directory, key);
  }

  async keys(): Promise<string[]> {
    return (await readdir(this.#directory)).filter((name) => keyPattern.test(name));
  }

  /** @returns undefined: no snapshot, or one that was never completed */
  find(key: string): SnapshotRecord | undefined {
    try {
      const record: unknown = JSON.parse(readFileSync(join(this.path(key), 'parents.json'), 'utf8'));
      // A list of parents alone, as earlier versions wrote it.
      return Array.isArray(record) ? { parents: record as LayerName[] } : (record as SnapshotRecord);
    } catch (error) {
      // SyntaxError: power went before the record reached the disk; `prepare` writes it again.
      if (isCode(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** @throws {TareError} NotFound */
  record(key: string): SnapshotRecord {
    const record = this.find(key);
    if (record === undefined) throw new TareError('NotFound', `no snapshot ${key}: prepare it first`);
    return record;
  }

  write(key: string, record: SnapshotRecord): void {
    const path = join(this.path(key), 'parents.json');
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Makes the folder of a snapshot, in the place of one that was never completed. @param maker the store that it belongs to */
  make(key: string, maker: string | undefined): void {
    if (maker === undefined) {
      mkdirSync(this.path(key), { recursive: true, mode: 0o700 });
      return;
    }
    this.remove(key);
    this.lend(key, maker);
  }

  /** Makes the folder of a snapshot that belongs to a store: it never is there without saying so. */
  lend(key: string, maker: string): void {
    const draft = this.hidden(maker);
    writeFileSync(join(draft, 'maker'), maker, { mode: 0o600 });
    renameSync(draft, this.path(key));
  }

  /** The store that a snapshot belongs to; undefined: none, its owner has a record of it. */
  maker(key: string): string | undefined {
    try {
      return readFileSync(join(this.path(key), 'maker'), 'utf8');
    } catch (error) {
      if (isCode(error, 'ENOENT')) return undefined;
      throw error;
    }
  }

  /** A folder that no key leads to, gone after a crash. @param maker the store that it belongs to */
  hidden(maker: string): string {
    const path = this.#place(`${maker}-`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  #place(maker = ''): string {
    return join(this.#directory, `${REMOVING}${maker}${randomBytes(8).toString('hex')}`);
  }

  /** Takes a snapshot out of sight. Its files go in the background, by `rest` at the latest. Repeating is safe. */
  remove(key: string): void {
    const [path, hidden] = [this.path(key), this.#place()];
    try {
      renameSync(path, hidden);
    } catch (error) {
      // There is none, or another process was quicker.
      if (isCode(error, 'ENOENT')) return;
      throw error;
    }
    // Nobody waits for the files; what a crash leaves of them, `sweep` removes.
    this.#emptying = this.#emptying.then(() => this.discard(hidden)).catch(() => {});
  }

  /** Removes a hidden folder. */
  async discard(hidden: string): Promise<void> {
    if (!existsSync(hidden)) return;
    using directory = new OpenFile(openAt(AT_FDCWD, toByteString(this.#directory), O_DIRECTORY));
    await paced(removeSteps(directory.fd, basename(hidden)));
  }

  /** Removes what crashes have left of removed snapshots. */
  async sweep(isAlive: (maker: string) => boolean): Promise<void> {
    for (const name of await readdir(this.#directory)) {
      if (!name.startsWith(REMOVING)) continue;
      const path = join(this.#directory, name);
      const maker = HIDDEN.exec(name)?.[1];
      if (maker !== undefined && isAlive(maker)) continue;
      // Where a tree is shown for a moment, before its mount loses its place.
      while (unmountIfMounted(join(path, SHOWN)));
      await this.discard(path);
    }
  }

  async rest(): Promise<void> {
    await this.#emptying;
  }
}
