import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { kindOf } from '../../../errors/index.ts';
import { type ByteString, fromByteString } from '../../../linux/index.ts';
import type { LocalLayer } from '../../../storage/index.ts';
import type { BuilderParts } from '../../builder-parts.ts';
import { type CacheEntryUse, holdFolder, useCacheEntry } from '../../cache/entries.ts';
import type { SentFolder } from '../../session.ts';
import { TreeFiles } from '../../tree-files.ts';
import { IndexReader, IndexWriter } from './folder-index.ts';
import { FolderWriter } from './folder-writer.ts';
import { type Received, receiveFolder } from './receive-folder.ts';

/** Folders of one key that are kept for builds side by side; a build more has one of its own that is not kept. */
const SLOTS = 4;

export interface KeptFolderRequest {
  /** The same for one client and folder from build to build. */
  key: string;
  description: string;
  takesAll: boolean;
  /** For the next build of this key. */
  isKept: boolean;
  /** Begins a sending; called again when the first one could not be used. */
  send(): Promise<SentFolder>;
  signal: AbortSignal;
  onBytes(bytes: number): void;
}

/** A client's folder as a layer. Nobody changes it before this is disposed. */
export interface HeldFolder extends AsyncDisposable {
  readonly layer: LocalLayer;
  readonly received: Received;
}

type FolderParts = Pick<BuilderParts, 'directory' | 'execDirectory' | 'db' | 'locks' | 'layers' | 'now' | 'report'>;

let bootID: string | undefined;
const thisBoot = (): string => (bootID ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());

/**
 * Brings a client's folder here. What was sent for the key before is changed to what it is now, unless another build uses it:
 * then this one gets another.
 */
export async function receiveKept(parts: FolderParts, request: KeptFolderRequest): Promise<HeldFolder> {
  if (!request.isKept) return await receiveAlone(parts, request);
  const name = createHash('sha256').update(request.key).digest('hex').slice(0, 32);
  for (let slot = 0; slot < SLOTS; slot += 1) {
    const id = `local-${name}-${slot}`;
    const lock = parts.locks.tryAcquire(`build ${id}`);
    if (lock === undefined) continue;
    await using undo = new AsyncDisposableStack();
    undo.use(lock);
    const entry = { id, type: 'source.local', description: request.description, folder: join('sources', id) } as const;
    const use = undo.use(await useCacheEntry(parts, entry));
    const held = await receiveInto(parts, request, use, `build-${id}`);
    if (held === 'busy') continue;
    const owned = undo.move();
    return { ...held, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  }
  return await receiveAlone(parts, request);
}

const freshKey = (): string => `build-local-${randomBytes(16).toString('hex')}`;

/** A folder for one build alone. */
async function receiveAlone(parts: FolderParts, request: KeptFolderRequest): Promise<HeldFolder> {
  const key = freshKey();
  const folder = join(parts.directory, 'sources', key);
  await using undo = new AsyncDisposableStack();
  undo.use(await holdFolder(parts, key));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  undo.defer(() => rm(folder, { recursive: true, force: true }));
  const use = { path: folder, isNew: true, record: async () => {} };
  const held = (await receiveInto(parts, request, use, key)) as Exclude<
    Awaited<ReturnType<typeof receiveInto>>,
    'busy'
  >;
  undo.defer(() => remove(parts, held.layer));
  const owned = undo.move();
  return { ...held, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** @returns busy: something stands on the layer that would have to be changed */
async function receiveInto(
  parts: FolderParts,
  request: KeptFolderRequest,
  use: Pick<CacheEntryUse, 'path' | 'isNew' | 'record'>,
  key: string,
): Promise<{ layer: LocalLayer; received: Received } | 'busy'> {
  mkdirSync(use.path, { recursive: true, mode: 0o700 });
  const path = join(use.path, 'index');
  // Where an earlier build was cut off in the middle of a change.
  await parts.layers.remove(key);
  const found = use.isNew ? undefined : IndexReader.open(path, thisBoot());
  const isThere = found !== undefined && (await parts.layers.has(found.layer));
  using before = isThere ? found : closed(found);
  await using sent = await request.send();
  using after = new IndexWriter(path, sent.packed?.kind ?? 'none');
  let isOpen = false;
  let isBusy = false;
  await using undo = new AsyncDisposableStack();
  const open = async (): Promise<FolderWriter> => {
    try {
      if (before === undefined) await parts.layers.prepare(key, [], { isTransient: true, isBare: true });
      else await parts.layers.thaw(before.layer, key);
    } catch (error) {
      isBusy = before !== undefined && kindOf(error) === 'Conflict';
      throw error;
    }
    isOpen = true;
    undo.defer(() => parts.layers.remove(key));
    return new FolderWriter(parts.layers.files(key), sent.directory, request.onBytes);
  };
  let received: Received;
  try {
    const { takesAll, signal, onBytes } = request;
    const contentOf = async (file: ByteString) =>
      before === undefined ? undefined : await contentIn(parts, before.layer, file);
    received = await receiveFolder(sent, { before, after, contentOf, open, takesAll, signal, onBytes });
  } catch (error) {
    if (isBusy) return 'busy';
    throw error;
  }
  if (!isOpen && before !== undefined) {
    // Times of folders, which change nothing.
    if (after.isBegun) after.publish(before.layer, thisBoot());
    await use.record({ sizeBytes: received.sizeBytes });
    return { layer: before.layer, received };
  }
  if (!isOpen) await parts.layers.prepare(key, [], { isTransient: true, isBare: true });
  const layer = await parts.layers.freeze(key);
  undo.move();
  after.publish(layer, thisBoot());
  await use.record({ sizeBytes: received.sizeBytes, layers: [layer] });
  return { layer, received };
}

/** @returns undefined: it cannot be read, whatever the cause, and so is sent anew */
async function contentIn(
  { layers }: FolderParts,
  layer: LocalLayer,
  path: ByteString,
): Promise<Uint8Array | undefined> {
  try {
    await using files = await TreeFiles.open(layers, { layers: [layer], isRootless: true });
    return files.read(fromByteString(path));
  } catch {
    return undefined;
  }
}

function closed(reader: IndexReader | undefined): undefined {
  reader?.[Symbol.dispose]();
  return undefined;
}

async function remove({ layers, report }: FolderParts, layer: LocalLayer): Promise<void> {
  try {
    await layers.removeLayer(layer);
  } catch (error) {
    // A step that just ends may still stand on it; nobody keeps it, so the next collection takes it.
    if (kindOf(error) !== 'Conflict') report(`layer ${layer}`, error);
  }
}
