import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { MS_BIND, MS_REC, mount } from '../linux/index.ts';
import { openBeneath, type RootBind } from '../storage/index.ts';
import { boundPath } from './bundle.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, MountPoint } from './types.ts';

type SourceParts = Pick<EngineParts, 'images' | 'layers' | 'locks' | 'volumes'>;

/** Key of the snapshot that shows an image inside a container. */
export const imageViewKey = (containerId: string, destination: string): string =>
  `${containerId}.${createHash('sha256').update(destination).digest('hex').slice(0, 16)}`;

/** The container that an image is shown to; undefined: the key is none of an image inside a container. */
export const viewerOf = (key: string): string | undefined => /^([0-9a-f]{64})\.[0-9a-f]{16}$/.exec(key)?.[1];

/**
 * Makes what a container mounts ready at its start: volumes that are mounted themselves, images, parts of both, and binds that
 * are confined to a folder. What is beneath one is opened without leaving it, and bound from that descriptor to a place of ours, so that the runtime
 * follows no link that a container planted.
 *
 * @returns the mounts with the host paths that the runtime is to take
 * @throws {TareError} InvalidArgument: a subpath that is not there or leads out; NotFound: an image
 */
export async function prepareSources(parts: SourceParts, record: ContainerRecord): Promise<MountPoint[]> {
  const prepared: MountPoint[] = [];
  for (const [index, point] of record.mounts.entries()) {
    const subpath = subpathOf(point);
    let source = point.within ?? point.source;
    if (point.type === 'volume') await parts.volumes.acquire(point.name, record.id);
    if (point.type === 'image') source = await showImage(parts, record.id, point);
    prepared.push({ ...point, source: subpath === '' ? source : bindBeneath(record, index, source, subpath) });
  }
  return prepared;
}

/** Gives back what `prepareSources` took, of a container that does not run. Repeating is safe. */
export async function releaseSources(parts: SourceParts, record: ContainerRecord): Promise<void> {
  if (record.mounts.some(({ type }) => type === 'volume')) await parts.volumes.release(record.id);
  await releaseImages(parts, record);
}

/** Keeps what a container that does not run would mount, for a look at its files. */
export async function holdSources(
  parts: SourceParts,
  record: ContainerRecord,
): Promise<AsyncDisposable & { binds: RootBind[] }> {
  await using held = new AsyncDisposableStack();
  const points = record.mounts.filter(({ type }) => type !== 'tmpfs');
  if (points.some(({ type }) => type === 'image')) {
    // A start would take the same places.
    held.use(await parts.locks.acquire(`container:${record.id}`));
    held.defer(() => releaseImages(parts, record));
  }
  const binds: RootBind[] = [];
  for (const point of points) {
    if (point.type === 'volume') held.use(await parts.volumes.hold(point.name));
    const source = point.type === 'image' ? await showImage(parts, record.id, point) : (point.within ?? point.source);
    binds.push({ source, subpath: subpathOf(point), destination: point.destination, readOnly: !point.readWrite });
  }
  const owned = held.move();
  return { binds, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function releaseImages(parts: SourceParts, record: ContainerRecord): Promise<void> {
  for (const point of record.mounts) {
    if (point.type === 'image') await parts.layers.remove(imageViewKey(record.id, point.destination));
  }
}

async function showImage(parts: SourceParts, id: string, point: MountPoint): Promise<string> {
  const imageId = point.imageId ?? '';
  await parts.images.requireTrusted(imageId, point.spec?.source ?? imageId);
  const key = imageViewKey(id, point.destination);
  // Left by a crash, perhaps over layers that the image no longer has.
  await parts.layers.remove(key);
  return await parts.layers.view(key, await parts.images.ensureUnpacked(imageId));
}

/** What beneath its source, or the folder that it is confined to, a mount shows; '': all. */
function subpathOf({ spec, source, within }: MountPoint): string {
  if (within !== undefined) return relative(within, source) || '.';
  return spec?.volume?.subpath || spec?.image?.subpath || '';
}

function bindBeneath(record: ContainerRecord, index: number, source: string, subpath: string): string {
  const fd = openBeneath(source, subpath);
  try {
    const place = boundPath(record.bundle, index);
    mkdirSync(join(place, '..'), { recursive: true, mode: 0o700 });
    if (fstatSync(fd).isDirectory()) mkdirSync(place, { mode: 0o700 });
    else writeFileSync(place, '', { mode: 0o600 });
    mount(`/proc/self/fd/${fd}`, place, '', MS_BIND | MS_REC);
    return place;
  } finally {
    closeSync(fd);
  }
}
