import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Database } from '../../state/index.ts';
import {
  type ContentStore,
  type LayerName,
  type LayerStore,
  openContentStore,
  openLayerStore,
} from '../../storage/index.ts';
import type { BuilderParts, BuiltImage } from '../builder-parts.ts';
import type { ExportContext, ExportedPart, ExportSource } from '../exporter.ts';
import type { BuildSession, SentEntry } from '../session.ts';

type Recorded = BuiltImage & NonNullable<Parameters<BuilderParts['images']['record']>[1]>;

/** Stores with nothing in them, and a client that keeps what it is sent. */
export interface ExportLab extends AsyncDisposable {
  folder: string;
  parts: BuilderParts;
  content: ContentStore;
  layers: LayerStore;
  recorded: Recorded[];
  /** What came to the client's file, and into its folder by path. */
  file(): Buffer;
  received: Map<string, { entry: SentEntry; bytes: Buffer }>;
  lines: string[];
  warnings: string[];
  context(attributes?: Record<string, string>): ExportContext;
  /** A layer made here of these files. */
  layer(files: Record<string, string>): Promise<LayerName>;
}

export async function openExportLab(): Promise<ExportLab> {
  await using undo = new AsyncDisposableStack();
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tare-export-')));
  undo.defer(() => rmSync(folder, { recursive: true, force: true }));
  const layers = undo.use(
    await openLayerStore({ directory: join(folder, 'layers'), snapshotDirectory: join(folder, 'snapshots') }),
  );
  const content = undo.use(await openContentStore(join(folder, 'content'), layers.tars));
  const db = undo.use(await Database.open(join(folder, 'tare.db')));
  const recorded: Recorded[] = [];
  const sent: Buffer[] = [];
  const received: ExportLab['received'] = new Map();
  const session = {
    id: 'client',
    fileSink: async () => ({
      write: async (chunk: Uint8Array) => void sent.push(Buffer.from(chunk)),
      close: async () => {},
      [Symbol.asyncDispose]: async () => {},
    }),
    sendFolder: async (_exporter: string, sentFolder: Parameters<BuildSession['sendFolder']>[1]) => {
      const entries = await Array.fromAsync(sentFolder.entries);
      for (const [index, entry] of entries.entries()) {
        const isFile = (entry.mode & 0o170000) === 0o100000 && entry.linkname === undefined;
        const chunks = isFile ? await Array.fromAsync(sentFolder.read(index)) : [];
        received.set(entry.path, { entry, bytes: Buffer.concat(chunks) });
      }
    },
  } as unknown as BuildSession;
  const parts = {
    ...{ content, layers, db, execDirectory: join(folder, 'run') },
    images: {
      layerBlobs: async () => [],
      blobSources: () => [],
      pushed: async () => {},
      record: async (image: BuiltImage, options: Partial<Recorded>) => {
        recorded.push({ ...image, ...options });
        return image.config;
      },
    },
    holdContent: async () => ({ [Symbol.asyncDispose]: async () => {} }),
    now: () => Date.UTC(2030, 0, 1),
  } as unknown as BuilderParts;
  const lines: string[] = [];
  const warnings: string[] = [];
  let made = 0;
  const kept = undo.move();
  return {
    ...{ folder, parts, content, layers, recorded, received, lines, warnings },
    file: () => Buffer.concat(sent),
    context: (attributes = {}) => ({
      ...{ exporterID: '0', attributes, session, signal: new AbortController().signal },
      progress: {
        log: () => {},
        status: (id, { isDone = false }) => void (isDone && lines.push(id)),
        warn: ({ short }) => void warnings.push(short),
      },
    }),
    layer: async (files) => {
      made += 1;
      const key = `step-${made}`;
      await layers.prepare(key, [], { isTransient: true, isBare: true });
      for (const [path, text] of Object.entries(files)) {
        const place = join(layers.files(key), path);
        mkdirSync(dirname(place), { recursive: true });
        writeFileSync(place, text);
      }
      return await layers.freeze(key);
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** A result of one platform, as a frontend hands it over. */
export function resultOf(layers: readonly LayerName[], more: Partial<ExportedPart> = {}): ExportSource {
  const platform = { os: 'linux', architecture: 'amd64' };
  const history = layers.map((_, index) => ({ created_by: `RUN step ${index}` }));
  const config = { ...platform, config: { Env: ['PATH=/bin'] }, rootfs: { type: 'layers', diff_ids: [] }, history };
  const part: ExportedPart = {
    ...{ platformID: 'linux/amd64', platform, tree: { layers }, attestations: [] },
    config: Buffer.from(JSON.stringify(config)),
    ...more,
  };
  return { parts: [part], isMultiPlatform: false, metadata: new Map() };
}

export const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
