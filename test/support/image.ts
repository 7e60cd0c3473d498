import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cache } from './built.ts';
import { type TarEntry, tar } from './tar.ts';

export const sha256 = (bytes: Uint8Array): `sha256:${string}` =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** The name of the image that the archives of `busyboxImage` carry. */
export const busybox = 'busybox:test';

const passwd = `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
www-data:x:33:33:www-data:/www:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`;
const group = `root:x:0:
daemon:x:1:
www-data:x:33:
audio:x:29:app
video:x:44:app
app:x:1000:
nogroup:x:65534:
`;

/** A root file system of the host's static busybox with every applet as a link. */
export function busyboxEntries(): TarEntry[] {
  const program = readFileSync('/bin/busybox');
  const applets = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' })
    .split('\n')
    .filter((applet) => applet !== '' && applet !== 'busybox');
  const folder = (path: string, extra: Partial<TarEntry> = {}): TarEntry => ({ path, type: 'directory', ...extra });
  return [
    folder('bin'),
    folder('etc'),
    folder('home'),
    folder('home/app', { uid: 1000, gid: 1000 }),
    folder('root', { mode: 0o700 }),
    folder('tmp', { mode: 0o1777 }),
    folder('www'),
    folder('data', { uid: 1000, gid: 1000, mode: 0o750 }),
    { path: 'data/kept', content: 'from the image\n', uid: 1000, gid: 1000 },
    { path: 'etc/passwd', content: passwd },
    { path: 'etc/group', content: group },
    { path: 'www/index.html', content: 'Hello from Tare\n' },
    { path: 'bin/busybox', content: program, mode: 0o755 },
    ...applets.map((applet): TarEntry => ({ path: `bin/${applet}`, type: 'symlink', target: 'busybox' })),
  ];
}

export interface ImageSource {
  name: string;
  /** Uncompressed tars, base first. */
  layers: Uint8Array[];
  /** The `config` of the image configuration. */
  config?: Record<string, unknown>;
}

interface Parts {
  configuration: Buffer;
  manifest: Buffer;
  index: Buffer;
  blobs: Map<string, Uint8Array>;
}

function parts(image: ImageSource): Parts {
  const configuration = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      created: '2024-01-01T00:00:00Z',
      config: image.config ?? { Env: ['PATH=/bin'], Cmd: ['sh'] },
      rootfs: { type: 'layers', diff_ids: image.layers.map(sha256) },
      history: image.layers.map((_, index) => ({ created: '2024-01-01T00:00:00Z', created_by: `layer ${index}` })),
    }),
  );
  const descriptor = (mediaType: string, bytes: Uint8Array) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  });
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: descriptor('application/vnd.oci.image.config.v1+json', configuration),
      layers: image.layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', layer)),
    }),
  );
  const index = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          ...descriptor('application/vnd.oci.image.manifest.v1+json', manifest),
          annotations: { 'org.opencontainers.image.ref.name': image.name, 'io.containerd.image.name': image.name },
        },
      ],
    }),
  );
  const blobs = new Map<string, Uint8Array>();
  for (const bytes of [...image.layers, configuration, manifest]) blobs.set(sha256(bytes).slice(7), bytes);
  return { configuration, manifest, index, blobs };
}

/** The tar that `docker save` wrote up to version 24: manifest.json, a config, a folder a layer. */
export function dockerArchive(image: ImageSource): Buffer {
  const { configuration } = parts(image);
  const config = `${sha256(configuration).slice(7)}.json`;
  const layers = image.layers.map((layer) => ({ path: `${sha256(layer).slice(7)}/layer.tar`, content: layer }));
  const manifest = [{ Config: config, RepoTags: [image.name], Layers: layers.map(({ path }) => path) }];
  return tar([
    { path: config, content: configuration },
    ...layers,
    { path: 'manifest.json', content: JSON.stringify(manifest) },
  ]);
}

/** An OCI image layout in a tar. */
export function ociArchive(image: ImageSource): Buffer {
  const { blobs, index } = parts(image);
  return tar([
    { path: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
    { path: 'index.json', content: index },
    ...[...blobs].map(([hex, content]): TarEntry => ({ path: `blobs/sha256/${hex}`, content })),
  ]);
}

export interface BusyboxImage {
  /** The root file system, for `import`. */
  rootfs: string;
  /** For `load`. */
  docker: string;
  oci: string;
  /** An OCI layout as a folder. */
  folder: string;
}

/** Paths of the busybox image in every form, made once and kept on disk. */
export function busyboxImage(): BusyboxImage {
  const layer = tar(busyboxEntries());
  const image: ImageSource = { name: busybox, layers: [layer] };
  const folder = join(cache, 'test-images', sha256(layer).slice(7, 23));
  const files: BusyboxImage = {
    rootfs: join(folder, 'rootfs.tar'),
    docker: join(folder, 'docker.tar'),
    oci: join(folder, 'oci.tar'),
    folder: join(folder, 'oci'),
  };
  const { blobs, index } = parts(image);
  const contents: [string, Uint8Array | string][] = [
    [files.rootfs, layer],
    [files.docker, dockerArchive(image)],
    [files.oci, ociArchive(image)],
    ...[...blobs].map(([hex, bytes]): [string, Uint8Array] => [join(files.folder, 'blobs/sha256', hex), bytes]),
    [join(files.folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}'],
    [join(files.folder, 'index.json'), index],
  ];
  for (const [path, content] of contents) {
    if (existsSync(path)) continue;
    mkdirSync(dirname(path), { recursive: true });
    // Test files that run side by side may all be writing it.
    writeFileSync(`${path}.${process.pid}`, content);
    renameSync(`${path}.${process.pid}`, path);
  }
  return files;
}
