import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mediaTypes } from '../image/index.ts';
import { Database, Locks } from '../state/index.ts';
import {
  type ContentStore,
  encodeFile,
  encodeHeader,
  endOfArchive,
  type LayerStore,
  openContentStore,
  openLayerStore,
} from '../storage/index.ts';
import type { ImageUser } from './image-parts.ts';
import { createImageService, type ImageServiceDeps, type Images } from './images.ts';
import type { ProgressMessage } from './types.ts';

export const sha256 = (bytes: Uint8Array | string): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A tar of plain files. */
export function tarOf(files: Record<string, string | Uint8Array>): Buffer {
  const entries = Object.entries(files).map(([name, bytes]) => encodeFile(name, bytes, { mode: 0o755 }));
  return Buffer.concat([...entries, endOfArchive()]);
}

/** A link in a tar. */
export const tarLink = (path: string, linkTarget: string, type: 'link' | 'hardlink' = 'link'): Buffer =>
  encodeHeader({ path, type, linkTarget });

/** Layers of an image to be: what is stored, and the plain tar in it. */
export interface TestLayer {
  stored: Uint8Array;
  plain: Uint8Array;
  mediaType?: string;
}

export const plainLayer = (files: Record<string, string>): TestLayer => {
  const plain = tarOf(files);
  return { stored: plain, plain, mediaType: mediaTypes.layer };
};

export interface TestImage {
  config: Buffer;
  manifest: Buffer;
  layers: TestLayer[];
}

/** An image's documents; `overrides` go over the config. */
export function imageOf(layers: TestLayer[], overrides: object = {}): TestImage {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      created: '2026-01-02T03:04:05Z',
      config: { Cmd: ['/bin/true'] },
      rootfs: { type: 'layers', diff_ids: layers.map(({ plain }) => sha256(plain)) },
      history: layers.map((_, index) => ({ created_by: `layer ${index}` })),
      ...overrides,
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: descriptorOf(config, mediaTypes.config),
      layers: layers.map(({ stored, mediaType = mediaTypes.layer }) => descriptorOf(stored, mediaType)),
    }),
  );
  return { config, manifest, layers };
}

export const descriptorOf = (bytes: Uint8Array, mediaType: string, more: object = {}) => ({
  mediaType,
  digest: sha256(bytes),
  size: bytes.byteLength,
  ...more,
});

export const blobFile = (bytes: Uint8Array): [string, Uint8Array] => [
  `blobs/sha256/${sha256(bytes).slice('sha256:'.length)}`,
  bytes,
];

/** Files of an OCI layout; names go into annotations as containerd writes them. */
export function ociFiles(images: { image: TestImage; name?: string }[]): Record<string, string | Uint8Array> {
  const manifests = images.map(({ image, name }) =>
    descriptorOf(
      image.manifest,
      mediaTypes.manifest,
      name === undefined ? {} : { annotations: { 'io.containerd.image.name': name } },
    ),
  );
  const blobs = images.flatMap(({ image }) => [
    blobFile(image.config),
    blobFile(image.manifest),
    ...image.layers.map(({ stored }) => blobFile(stored)),
  ]);
  return {
    ...Object.fromEntries(blobs),
    'index.json': JSON.stringify({ schemaVersion: 2, manifests }),
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
  };
}

/** Files of a docker archive as docker 20 wrote it. */
export function dockerFiles(images: { image: TestImage; names?: string[] }[]): Record<string, string | Uint8Array> {
  const files: Record<string, string | Uint8Array> = {};
  const manifest = images.map(({ image, names }) => {
    const config = `${sha256(image.config).slice('sha256:'.length)}.json`;
    files[config] = image.config;
    const layers = image.layers.map(({ stored }) => {
      const folder = sha256(stored).slice('sha256:'.length);
      files[`${folder}/VERSION`] = '1.0';
      files[`${folder}/json`] = '{}';
      files[`${folder}/layer.tar`] = stored;
      return `${folder}/layer.tar`;
    });
    return { Config: config, RepoTags: names ?? null, Layers: layers };
  });
  return { ...files, 'manifest.json': JSON.stringify(manifest) };
}

/** Bytes as a stream of chunks of an awkward size. */
export async function* streamOf(bytes: Uint8Array, chunkBytes = 10_007): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes);
}

/** An image service with real stores in a folder of its own. */
export class ImageLab implements AsyncDisposable {
  readonly root: string;
  readonly db: Database;
  readonly content: ContentStore;
  readonly layers: LayerStore;
  readonly locks: Locks;
  readonly images: Images;
  /** Containers by image id; tests change it. */
  readonly users: Map<string, ImageUser[]>;
  readonly #close: AsyncDisposableStack;

  static async open(
    root = mkdtempSync(join(tmpdir(), 'tare-images-')),
    options: Partial<ImageServiceDeps> = {},
  ): Promise<ImageLab> {
    await using stack = new AsyncDisposableStack();
    stack.defer(() => rmSync(root, { recursive: true, force: true }));
    const db = stack.use(await Database.open(join(root, 'tare.db')));
    const layers = stack.use(
      await openLayerStore({ directory: join(root, 'layers'), snapshotDirectory: join(root, 'snapshots') }),
    );
    const content = stack.use(await openContentStore(join(root, 'content'), layers.tars));
    // Whatever a failed test left mounted.
    stack.defer(async () => {
      for (const key of await layers.snapshots()) await layers.remove(key);
    });
    return new ImageLab(root, db, content, layers, stack.move(), options);
  }

  private constructor(
    root: string,
    db: Database,
    content: ContentStore,
    layers: LayerStore,
    close: AsyncDisposableStack,
    options: Partial<ImageServiceDeps>,
  ) {
    this.root = root;
    this.db = db;
    this.content = content;
    this.layers = layers;
    this.locks = new Locks(join(root, 'locks'));
    this.users = new Map();
    this.#close = close;
    this.images = createImageService({
      db,
      content,
      layers,
      locks: this.locks,
      containersUsing: (id) => this.users.get(id) ?? [],
      countContainers: () => new Map([...this.users].map(([id, users]) => [id, users.length])),
      ...options,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#close.disposeAsync();
  }

  /** Loads a tar and gives its last words. */
  async load(archive: Uint8Array, options: { platform?: string } = {}): Promise<string> {
    return lastWords(await Array.fromAsync(this.images.load(streamOf(archive), options)));
  }

  async loadFolder(path: string): Promise<string> {
    return lastWords(await Array.fromAsync(this.images.loadDirectory(path)));
  }

  async save(...refs: string[]): Promise<Buffer> {
    return Buffer.concat(await Array.fromAsync(this.images.save(refs)));
  }

  /** Types and actions of all events so far. */
  events(): { action: string; actorId: string; attributes: Record<string, string> }[] {
    return this.db
      .all<{ action: string; actor_id: string; attributes: string }>(
        'SELECT action, actor_id, attributes FROM events ORDER BY id',
      )
      .map(({ action, actor_id, attributes }) => ({
        action,
        actorId: actor_id,
        attributes: JSON.parse(attributes) as Record<string, string>,
      }));
  }

  /** Everything that lies in the stores and the records. */
  async inventory(): Promise<{ blobs: number; layers: number; images: number; unfinished: string[]; leases: number }> {
    const count = (table: string) => this.db.get<{ n: number }>(`SELECT count(*) AS n FROM ${table}`)!.n;
    const blobs = readdirSync(join(this.root, 'content/blobs/sha256'));
    const layers = readdirSync(join(this.root, 'layers')).filter((name) => /^[0-9a-f]{64}$/.test(name));
    const unfinished = ['content/ingest', 'layers/ingest', 'layers/removing'].flatMap((folder) =>
      readdirSync(join(this.root, folder)),
    );
    return { blobs: blobs.length, layers: layers.length, images: count('images'), unfinished, leases: count('leases') };
  }
}

export const nothing = { blobs: 0, layers: 0, images: 0, unfinished: [], leases: 0 };

function lastWords(messages: ProgressMessage[]): string {
  return messages.map(({ stream }) => stream ?? '').join('');
}
