import { TareError } from '../errors/index.ts';
import { AT_FDCWD, O_DIRECTORY, OpenFile, openAt, toByteString } from '../linux/index.ts';
import { archiveOf, extractInto, packEntry, packFolder } from '../storage/index.ts';
import type { Volumes } from './volumes.ts';

type Mounts = Pick<Volumes, 'get' | 'hold'>;

/**
 * All that a volume holds as an uncompressed tar, its own folder first: owners, modes, times, attributes and links are kept.
 * @throws {TareError} NotFound; what the kernel refuses of a volume that is mounted
 */
export async function* exportVolume(volumes: Mounts, name: string): AsyncGenerator<Uint8Array, void, void> {
  const { mountpoint } = volumes.get(name);
  await using _mounted = await volumes.hold(name);
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(mountpoint), O_DIRECTORY));
  yield* archiveOf(pack(folder.fd));
}

function* pack(fd: number): Generator<Buffer, void, void> {
  const links: Parameters<typeof packFolder>[2] = new Map();
  yield* packEntry(fd, toByteString('.'), toByteString('./'), links);
  yield* packFolder(fd, toByteString(''), links);
}

/**
 * Unpacks a tar, compressed or not, over what a volume holds. Every path is resolved inside the volume.
 * @throws {TareError} NotFound; InvalidArgument: the archive is malformed, leads out or has devices, naming the entry
 */
export async function importVolume(volumes: Mounts, name: string, tar: AsyncIterable<Uint8Array>): Promise<void> {
  const { mountpoint } = volumes.get(name);
  await using _mounted = await volumes.hold(name);
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(mountpoint), O_DIRECTORY));
  await extractInto(folder.fd, tar, {
    intercept: ({ type, path }) => {
      // A node on the host's disk is a device for whoever can open it there.
      if (type === 'character' || type === 'block') {
        throw new TareError('InvalidArgument', `${JSON.stringify(path)} in the archive is a device: volumes take none`);
      }
      return false;
    },
  });
}
