import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  type ByteString,
  changeTimesAt,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  readDirectory,
  S_IFDIR,
  SyscallError,
  statusAt,
  toByteString,
} from '../../linux/index.ts';
import { type CopiedLinks, copyEntry, copyStatus, openFolder } from '../tree/copy.ts';
import { paced } from '../tree/pace.ts';
import { removeSteps } from '../tree/remove.ts';
import { sizeSteps } from '../tree/size.ts';
import { unmountVolume } from './mounted-volume.ts';

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{1,254}$/;
const REMOVING = '.removing-';

/** The folders of named volumes: NAME/_data. Who uses them is known elsewhere. */
export interface VolumeDirectories {
  /** Makes a volume's folder and returns its path; returns it as it is when there is one. */
  createVolumeDirectory(name: string): Promise<string>;
  /** Removes a volume with all that is in it, save what is mounted there. Repeating is safe. */
  removeVolumeDirectory(name: string): Promise<void>;
  /** Where a volume's files are, whether it exists or not. @throws {TareError} InvalidArgument: not a name */
  volumePath(name: string): string;
  volumeNames(): Promise<string[]>;
  /** Finishes removals that a crash cut short. */
  reconcile(): Promise<void>;
}

/** Opens (and makes, mode 0701: containers' own users must reach their volumes) the folder that volumes live in. */
export async function openVolumeDirectories(directory: string): Promise<VolumeDirectories> {
  mkdirSync(directory, { recursive: true, mode: 0o701 });
  const folder = (name: string): string => {
    if (!namePattern.test(name)) {
      throw new TareError(
        'InvalidArgument',
        `invalid volume name ${JSON.stringify(name)}: want at least two letters, digits, _, . or -, a letter or digit first`,
      );
    }
    return join(directory, name);
  };
  const empty = async (name: string): Promise<void> => {
    using parent = new OpenFile(openAt(AT_FDCWD, toByteString(directory), O_DIRECTORY));
    await paced(removeSteps(parent.fd, name));
  };
  return {
    volumePath: (name) => join(folder(name), '_data'),
    async createVolumeDirectory(name) {
      const path = join(folder(name), '_data');
      await mkdir(folder(name), { recursive: true, mode: 0o701 });
      await mkdir(path, { recursive: true, mode: 0o755 });
      return path;
    },
    async removeVolumeDirectory(name) {
      // What is shown there is somebody else's, and must not be emptied.
      unmountVolume(join(folder(name), '_data'));
      const removing = `${REMOVING}${randomBytes(8).toString('hex')}`;
      try {
        await rename(folder(name), join(directory, removing));
      } catch (error) {
        if ((error as { code?: unknown }).code === 'ENOENT') return;
        throw error;
      }
      await empty(removing);
    },
    async volumeNames() {
      return (await readdir(directory)).filter((name) => namePattern.test(name)).sort();
    },
    async reconcile() {
      for (const name of await readdir(directory)) if (name.startsWith(REMOVING)) await empty(name);
    },
  };
}

/**
 * Copies what an image has at a path into an empty volume, with owners, modes, attributes, times, hard links, device
 * nodes and links, and gives the volume the owner and mode of the folder itself. Every link on the way to the path is
 * resolved inside the root filesystem; links in it are copied, never followed.
 *
 * @param rootfs a mounted root filesystem
 * @param containerPath absolute in it
 * @returns false: nothing was copied, because the volume holds something already or the image has no folder there
 */
export async function copyUp(rootfs: string, containerPath: string, volumePath: string): Promise<boolean> {
  using volume = new OpenFile(openAt(AT_FDCWD, toByteString(volumePath), O_DIRECTORY));
  if (readDirectory(volume.fd).length > 0) return false;
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(rootfs), O_PATH | O_DIRECTORY));
  let sourceFd: number;
  try {
    sourceFd = openAt2(root.fd, toByteString(containerPath), O_DIRECTORY);
  } catch (error) {
    if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code)) return false;
    throw error;
  }
  using source = new OpenFile(sourceFd);
  await paced(copyTree(source.fd, volume.fd));
  copyStatus({ fd: source.fd, name: '.' }, { fd: volume.fd, name: '.' }, statusAt(source.fd, '.'));
  return true;
}

function* copyTree(fromFd: number, toFd: number): Generator<void, void, void> {
  const links: CopiedLinks = new Map();
  yield* copyFolder(fromFd, toFd, '', { fd: toFd, links });
}

function* copyFolder(
  fromFd: number,
  toFd: number,
  path: ByteString,
  target: { fd: number; links: CopiedLinks },
): Generator<void, void, void> {
  for (const { name } of readDirectory(fromFd)) {
    const status = statusAt(fromFd, name);
    const at = path === '' ? name : `${path}/${name}`;
    yield* copyEntry({ fd: fromFd, name, status }, { fd: toFd, name }, target.links, {
      fd: target.fd,
      path: at,
      space: '',
    });
    if (status.type !== S_IFDIR) continue;
    {
      using from = new OpenFile(openFolder(fromFd, name));
      using to = new OpenFile(openFolder(toFd, name));
      yield* copyFolder(from.fd, to.fd, at, target);
    }
    changeTimesAt(toFd, name, status.accessNs, status.modifyNs);
  }
}

/** Bytes of all files beneath a path, counted once for hard links. */
export async function directorySize(path: string): Promise<number> {
  using folder = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_DIRECTORY));
  return (await paced(sizeSteps(folder.fd))).sizeBytes;
}
