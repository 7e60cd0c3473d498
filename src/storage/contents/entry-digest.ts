import { createHash } from 'node:crypto';
import {
  type FileStatus,
  getXattrAt,
  listXattrsAt,
  readLinkAt,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFREG,
} from '../../linux/index.ts';
import type { MergedEntry } from '../layers/merged-folder.ts';

/** As in a tar's headers. */
const typeFlags: Readonly<Record<number, string>> = {
  [S_IFREG]: '0',
  [S_IFLNK]: '2',
  [S_IFCHR]: '3',
  [S_IFBLK]: '4',
  [S_IFDIR]: '5',
  [S_IFIFO]: '6',
};

/** Owner and permissions of a folder that is no entry: a tree's root. */
export type RootStatus = Pick<FileStatus, 'mode' | 'uid' | 'gid'>;

/**
 * What counts of an entry beside its content: docker's "tarsum" v1, a tar header's fields by name without the name and the time,
 * so that digests are those of BuildKit.
 */
export function entryHeader({ status, layerFd, path }: Pick<MergedEntry, 'status' | 'layerFd' | 'path'>): Buffer {
  const { type } = status;
  const size = type === S_IFREG ? status.sizeBytes : 0;
  const isDevice = type === S_IFCHR || type === S_IFBLK;
  const fields = fieldsOf(status, {
    size,
    type: typeFlags[type] ?? '0',
    link: type === S_IFLNK ? readLinkAt(layerFd, path) : '',
    device: isDevice ? { major: status.deviceMajor, minor: status.deviceMinor } : { major: 0, minor: 0 },
  });
  const attributes: Buffer[] = [];
  for (const key of listXattrsAt(layerFd, path).filter(counts).sort()) {
    const value = getXattrAt(layerFd, path, key);
    if (value !== undefined) attributes.push(Buffer.from(key), value);
  }
  const header = Buffer.from(fields, 'latin1');
  return attributes.length === 0 ? header : Buffer.concat([header, ...attributes]);
}

/** Of a root folder, the attributes of which no layer tells. */
export const rootDigest = (root: RootStatus): string =>
  digestHex(Buffer.from(fieldsOf(root, { size: 0, type: '5', link: '', device: { major: 0, minor: 0 } })));

export const digestHex = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

function fieldsOf(
  { mode, uid, gid }: RootStatus,
  { size, type, link, device }: { size: number; type: string; link: string; device: { major: number; minor: number } },
): string {
  const owner = `mode${mode & 0o7777}uid${uid}gid${gid}`;
  return `name${owner}size${size}typeflag${type}linkname${link}unamegnamedevmajor${device.major}devminor${device.minor}`;
}

/** Overlayfs' own and what a machine's policy sets are no content. */
const counts = (key: string): boolean =>
  key === 'security.capability' || !/^(security|system|com\.apple)\.|^(trusted|user)\.overlay\./.test(key);
