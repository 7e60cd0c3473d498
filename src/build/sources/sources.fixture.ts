import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database, Locks } from '../../state/index.ts';
import { openContentStore, openLayerStore } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { OperationContext } from '../operation.ts';
import type { BuildSession, FolderFilter, PackedEntry, SentEntry, SentFolder } from '../session.ts';

/** What sources need of a builder, over real stores. Also for other parts' tests; outside of images. */
export type SourceParts = BuilderParts & { root: string } & AsyncDisposable;

export async function openSourceParts(): Promise<SourceParts> {
  await using stack = new AsyncDisposableStack();
  const root = mkdtempSync(join(tmpdir(), 'tare-sources-'));
  stack.defer(() => rmSync(root, { recursive: true, force: true }));
  const db = stack.use(await Database.open(join(root, 'tare.db')));
  const layers = stack.use(
    await openLayerStore({ directory: join(root, 'layers'), snapshotDirectory: join(root, 'snapshots') }),
  );
  const content = stack.use(await openContentStore(join(root, 'content'), layers.tars));
  const directory = join(root, 'build');
  const execDirectory = join(root, 'run');
  for (const folder of [directory, execDirectory]) mkdirSync(folder, { mode: 0o700 });
  const parts: Partial<BuilderParts> = {
    ...{ directory, execDirectory, db, layers, content, locks: new Locks(join(root, 'locks')) },
    now: Date.now,
    report: (subject, error) => {
      throw new Error(subject, { cause: error });
    },
  };
  const owned = stack.move();
  return Object.assign(parts as BuilderParts, { root, [Symbol.asyncDispose]: () => owned.disposeAsync() });
}

/** A client whose folder is what a test says. */
export class ScriptedSession {
  readonly id: string;
  readonly sharedKey = 'key';
  readonly #end = new AbortController();
  readonly #entries: () => AsyncIterable<SentEntry> | Iterable<SentEntry>;
  readonly #read: (path: string) => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Paths whose content was asked for. */
  readonly asked: string[] = [];
  /** What it packs entries as; undefined: it does not. */
  kind: string | undefined;
  /** Paths of packed entries that were looked into. */
  readonly unpacked: string[] = [];
  readonly filters: FolderFilter[] = [];
  owner: string | undefined;

  constructor(
    id: string,
    entries: () => AsyncIterable<SentEntry> | Iterable<SentEntry>,
    read: (path: string) => AsyncIterable<Uint8Array> | Iterable<Uint8Array> = (path) => [Buffer.from(path)],
  ) {
    this.id = id;
    this.#entries = entries;
    this.#read = read;
  }

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  end(): void {
    this.#end.abort();
  }

  async folder(_name: string, filter: FolderFilter): Promise<SentFolder> {
    this.filters.push(filter);
    const paths: string[] = [];
    const { asked } = this;
    const [entries, read] = [this.#entries, this.#read];
    const sent = async function* () {
      for await (const entry of entries()) {
        paths.push(entry.path);
        yield entry;
      }
    };
    return {
      entries: sent(),
      ...(this.kind === undefined ? {} : { packed: { kind: this.kind, batches: this.#packed(sent()) } }),
      read: async function* (index) {
        asked.push(paths[index]!);
        yield* read(paths[index]!);
      },
      [Symbol.asyncDispose]: async () => {},
    };
  }

  async *#packed(entries: AsyncIterable<SentEntry>): AsyncGenerator<readonly PackedEntry[]> {
    let batch: PackedEntry[] = [];
    for await (const entry of entries) {
      const text = JSON.stringify(entry, (_key, value) => (typeof value === 'bigint' ? `${value}` : value));
      const unpack = () => {
        this.unpacked.push(entry.path);
        return entry;
      };
      batch.push({ bytes: Buffer.from(text), unpack });
      if (batch.length < 3) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }

  get session(): BuildSession {
    return this as unknown as BuildSession;
  }
}

export function contextOf(
  sessions: readonly BuildSession[],
  signal = new AbortController().signal,
): OperationContext & {
  statuses: Map<string, { current?: number; total?: number; isDone?: boolean }>;
} {
  const statuses = new Map<string, { current?: number; total?: number; isDone?: boolean }>();
  return {
    signal,
    statuses,
    sessions: () => sessions,
    allows: () => false,
    progress: { log: () => {}, warn: () => {}, status: (id, state) => void statuses.set(id, state) },
  };
}

/** An entry as a client sends it: a file whose content is its path, unless `change` says otherwise. */
export const entryOf = (path: string, change: Partial<SentEntry> = {}): SentEntry => ({
  ...{
    path,
    mode: 0o100644,
    uid: 0,
    gid: 0,
    sizeBytes: Buffer.byteLength(path),
    modifiedNs: 1_600_000_000_000_000_000n,
  },
  ...change,
});
export const folderOf = (path: string, change: Partial<SentEntry> = {}): SentEntry =>
  entryOf(path, { mode: 0o040755, sizeBytes: 0, ...change });
export const linkOf = (path: string, linkname: string): SentEntry =>
  entryOf(path, { mode: 0o120777, linkname, sizeBytes: linkname.length });
