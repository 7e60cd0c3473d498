import {
  MS_BIND,
  MS_DIRSYNC,
  MS_MANDLOCK,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
  MS_UNBINDABLE,
} from '../../linux/index.ts';

/** Options as fstab(5) has them, for mount(2). */
export interface MountWords {
  flags: number;
  /** Propagation is a mount(2) of its own. */
  propagation: number;
  /** What only the file system itself knows. */
  data: string;
}

const setting: Record<string, number> = {
  bind: MS_BIND,
  dirsync: MS_DIRSYNC,
  mand: MS_MANDLOCK,
  noatime: MS_NOATIME,
  nodev: MS_NODEV,
  nodiratime: MS_NODIRATIME,
  noexec: MS_NOEXEC,
  nosuid: MS_NOSUID,
  rbind: MS_BIND | MS_REC,
  relatime: MS_RELATIME,
  remount: MS_REMOUNT,
  ro: MS_RDONLY,
  strictatime: MS_STRICTATIME,
  sync: MS_SYNCHRONOUS,
};

const clearing: Record<string, number> = {
  async: MS_SYNCHRONOUS,
  atime: MS_NOATIME,
  defaults: 0,
  dev: MS_NODEV,
  diratime: MS_NODIRATIME,
  exec: MS_NOEXEC,
  nomand: MS_MANDLOCK,
  norelatime: MS_RELATIME,
  nostrictatime: MS_STRICTATIME,
  rw: MS_RDONLY,
  suid: MS_NOSUID,
};

const propagations: Record<string, number> = {
  private: MS_PRIVATE,
  rprivate: MS_PRIVATE | MS_REC,
  rshared: MS_SHARED | MS_REC,
  rslave: MS_SLAVE | MS_REC,
  runbindable: MS_UNBINDABLE | MS_REC,
  shared: MS_SHARED,
  slave: MS_SLAVE,
  unbindable: MS_UNBINDABLE,
};

/** Splits `ro,nosuid,addr=10.0.0.1` into what mount(2) takes; words that are no flags go to the file system. */
export function parseMountWords(text: string): MountWords {
  let flags = 0;
  let propagation = 0;
  const data: string[] = [];
  for (const word of text.split(',')) {
    if (Object.hasOwn(setting, word)) flags |= setting[word]!;
    else if (Object.hasOwn(clearing, word)) flags &= ~clearing[word]!;
    else if (Object.hasOwn(propagations, word)) propagation |= propagations[word]!;
    else if (word !== '') data.push(word);
  }
  return { flags, propagation, data: data.join(',') };
}
