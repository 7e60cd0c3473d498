import { createHash } from 'node:crypto';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { readTar } from '../../../src/storage/index.ts';

/** An image as its user sees it, in a form that two builders can be compared in. */
export interface Picture {
  /** Path → type, mode, owner and content; after all layers, whiteouts applied. */
  files: Record<string, string>;
  config: Record<string, unknown>;
  /** Instructions in the history, and how many of them made a layer. */
  history: { all: number; layers: number };
}

interface ArchiveManifest {
  Config: string;
  Layers: string[];
}

interface ConfigFile {
  config?: Record<string, unknown>;
  architecture: string;
  os: string;
  history?: { empty_layer?: boolean }[];
}

/** Reads a docker archive, as `docker save` writes it. */
export async function pictureOf(archive: Uint8Array): Promise<Picture> {
  const members = new Map<string, Buffer>();
  for await (const { header, body } of readTar(once(archive))) {
    const chunks: Buffer[] = [];
    for await (const chunk of body) chunks.push(Buffer.from(chunk));
    members.set(header.path, Buffer.concat(chunks));
  }
  const [manifest] = JSON.parse(members.get('manifest.json')!.toString()) as ArchiveManifest[];
  const config = JSON.parse(members.get(manifest!.Config)!.toString()) as ConfigFile;
  const files = new Map<string, string>();
  for (const layer of manifest!.Layers) await applyLayer(files, unpacked(members.get(layer)!));
  const history = config.history ?? [];
  return {
    files: Object.fromEntries([...files].sort(([a], [b]) => (a < b ? -1 : 1))),
    config: { os: config.os, architecture: config.architecture, ...meaningful(config.config ?? {}) },
    history: { all: history.length, layers: history.filter((entry) => !entry.empty_layer).length },
  };
}

function unpacked(blob: Buffer): Buffer {
  if (blob[0] === 0x1f && blob[1] === 0x8b) return gunzipSync(blob);
  if (blob.readUInt32LE(0) === 0xfd2fb528) return zstdDecompressSync(blob);
  return blob;
}

async function applyLayer(files: Map<string, string>, layer: Uint8Array): Promise<void> {
  const own = new Map<string, string>();
  const drop = (beneath: string, itself: boolean) => {
    for (const path of [...files.keys()])
      if ((itself && path === beneath) || path.startsWith(`${beneath}/`)) files.delete(path);
  };
  for await (const { header, body } of readTar(once(layer))) {
    const path = Buffer.from(header.path, 'latin1')
      .toString()
      .replace(/^\.?\/*/, '')
      .replace(/\/$/, '');
    if (path === '' || path === '.') continue;
    const slash = path.lastIndexOf('/') + 1;
    const name = path.slice(slash);
    if (name === '.wh..wh..opq') drop(path.slice(0, slash - 1), false);
    else if (name.startsWith('.wh.') && header.sizeBytes === 0) drop(path.slice(0, slash) + name.slice(4), true);
    else {
      const hash = createHash('sha256');
      for await (const chunk of body) hash.update(chunk);
      const target = Buffer.from(header.linkTarget, 'latin1').toString();
      const owner = `${header.uid}:${header.gid}`;
      const mode = header.mode.toString(8);
      // A hard link has no content of its own; it is compared by that of the file that it is one of.
      if (header.type === 'hardlink')
        own.set(path, own.get(target.replace(/^\.?\/*/, '')) ?? files.get(target) ?? `link to ${target}`);
      else if (header.type === 'link') own.set(path, `link ${owner} → ${target}`);
      else if (header.type === 'file')
        own.set(path, `file ${mode} ${owner} ${header.sizeBytes} ${hash.digest('hex').slice(0, 16)}`);
      else own.set(path, `${header.type} ${mode} ${owner} ${header.deviceMajor}:${header.deviceMinor}`);
    }
  }
  for (const [path, text] of own) {
    if (!text.startsWith('directory') && files.get(path)?.startsWith('directory')) drop(path, true);
    files.set(path, text);
  }
}

/** Absent, null and empty mean the same; what only one builder ever writes is left out. */
function meaningful(config: Record<string, unknown>): Record<string, unknown> {
  const ignored = new Set([
    'ArgsEscaped',
    'Hostname',
    'Domainname',
    'Image',
    'AttachStdin',
    'AttachStdout',
    'AttachStderr',
    'Tty',
    'OpenStdin',
    'StdinOnce',
  ]);
  return Object.fromEntries(
    Object.entries(config)
      .filter(([key, value]) => !ignored.has(key) && !isEmpty(value))
      .map(([key, value]) => [key, key === 'Labels' ? withoutBuilder(value as Record<string, string>) : value])
      .filter(([, value]) => !isEmpty(value))
      .sort(([a], [b]) => ((a as string) < (b as string) ? -1 : 1)),
  );
}

/** Buildah names itself in a label. */
const withoutBuilder = (labels: Record<string, string>) =>
  Object.fromEntries(
    Object.entries(labels)
      .filter(([key]) => key !== 'io.buildah.version')
      .sort(),
  );

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  value === false ||
  (typeof value === 'object' && Object.keys(value).length === 0);

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/**
 * A picture without what Buildah does in its own way: the places of its mounts stay in a layer, variables come in no order, and a working
 * folder is named only when it was set.
 */
export function withoutHabits({ files, config }: Picture): Pick<Picture, 'files' | 'config'> {
  const places = new Set(['dev', 'run', 'etc/hostname']);
  const { Env: env, WorkingDir: folder, ...rest } = config;
  return {
    files: Object.fromEntries(Object.entries(files).filter(([path]) => !places.has(path))),
    config: {
      ...rest,
      ...(folder === undefined || folder === '/' ? {} : { WorkingDir: folder }),
      ...(Array.isArray(env) ? { Env: env.toSorted() } : {}),
    },
  };
}
