import {
  AT_FDCWD,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  mountTable,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  setMountAttributes,
  toByteString,
} from '../linux/index.ts';

/** Makes a mount one to look at: read-only, with no devices and no set-user-id programs. */
export function makeReadOnly(path: string): void {
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(path), O_PATH | O_DIRECTORY));
  setMountAttributes(root.fd, { set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID });
}

/** Whether something is mounted at a path. */
export const isMountPoint = (path: string): boolean => mountTable().some((entry) => entry.path === path);
