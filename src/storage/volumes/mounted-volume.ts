import { isIP, isIPv4 } from 'node:net';
import { TareError } from '../../errors/index.ts';
import {
  AT_FDCWD,
  MS_BIND,
  MS_REC,
  MS_REMOUNT,
  mount,
  O_DIRECTORY,
  O_PATH,
  OpenFile,
  openAt,
  openAt2,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
  SyscallError,
  toByteString,
  unmountIfMounted,
} from '../../linux/index.ts';
import { runInThread } from '../worker.ts';
import { parseMountWords } from './mount-options.ts';
import type { VolumeSource } from './volume-source.ts';

/** More stacked mounts than anybody makes; each is taken off. */
const MAX_STACKED = 64;

/**
 * Mounts a volume's source at its folder. A server may be slow to answer, so its file system is mounted by a thread.
 *
 * @throws {TareError} InvalidArgument: the kernel refuses it, or the server's name has no address; the message has docker's words
 */
export async function mountVolume(source: VolumeSource, target: string): Promise<void> {
  const addressed = await withAddress(source);
  if (isLocal(addressed)) mountHere(addressed, target);
  else await runInThread<void>('mount', { type: 'mount', request: { source: addressed, target } });
}

const isLocal = ({ type, device }: VolumeSource): boolean =>
  ['none', 'bind', 'tmpfs', 'overlay'].includes(type) || device.startsWith('/dev/');

/** The mount itself, which waits until the file system answers. @throws {TareError} InvalidArgument */
export function mountHere({ type, options, device }: VolumeSource, target: string): void {
  const { flags, propagation, data } = parseMountWords(options);
  try {
    mount(device, target, type, flags, data);
    try {
      // A bind takes no other flags when it is made.
      if ((flags & MS_BIND) !== 0 && (flags & ~(MS_BIND | MS_REC)) !== 0) mount('', target, '', flags | MS_REMOUNT);
      if (propagation !== 0) mount('', target, '', propagation);
    } catch (error) {
      unmountVolume(target);
      throw error;
    }
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    const shown = [
      ...(flags === 0 ? [] : [`flags: 0x${flags.toString(16)}`]),
      ...(data === '' ? [] : [`data: ${withoutSecrets(data)}`]),
    ];
    const what = [`mount ${device}:${target}`, ...shown].join(', ');
    throw new TareError(
      'InvalidArgument',
      `error while mounting volume '${target}': failed to mount local volume: ${what}: ${kernelWords(error)}`,
      { cause: error },
    );
  }
}

/** Takes off whatever is mounted at a volume's folder; lazily where it is busy. Repeating is safe. */
export function unmountVolume(target: string): void {
  for (let count = 0; count < MAX_STACKED && isMountPoint(target); count += 1) unmountIfMounted(target);
}

/** Whether anything is mounted right at a folder, a bind of the same file system included. */
export function isMountPoint(path: string): boolean {
  const at = path.lastIndexOf('/');
  try {
    using parent = new OpenFile(openAt(AT_FDCWD, toByteString(path.slice(0, at) || '/'), O_PATH | O_DIRECTORY));
    using _folder = new OpenFile(
      openAt2(parent.fd, toByteString(path.slice(at + 1)), O_PATH, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS),
    );
    return false;
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'EXDEV') return true;
    if (error instanceof SyscallError && /^(ENOENT|ENOTDIR|ELOOP)$/.test(error.code)) return false;
    throw error;
  }
}

/** The kernel's nfs and cifs know addresses, no names. */
async function withAddress(source: VolumeSource): Promise<VolumeSource> {
  if (source.type !== 'nfs' && source.type !== 'cifs') return source;
  const named = /(?:^|,)addr=([^,]*)/.exec(source.options)?.[1] ?? '';
  if (named !== '' && !isIPv4(named)) {
    const address = await addressOf(named);
    return { ...source, options: source.options.replace(`addr=${named}`, `addr=${address}`) };
  }
  const host = source.type === 'cifs' ? (/^\/\/([^/]+)/.exec(source.device)?.[1] ?? '') : '';
  if (host === '' || isIP(host) !== 0) return source;
  return { ...source, device: source.device.replace(`//${host}`, `//${await addressOf(host)}`) };
}

async function addressOf(name: string): Promise<string> {
  if (isIP(name) !== 0) return name;
  const { lookup } = await import('node:dns/promises');
  try {
    return (await lookup(name)).address;
  } catch (error) {
    throw new TareError(
      'InvalidArgument',
      `error resolving passed in network volume address: lookup ${name}: no such host`,
      { cause: error },
    );
  }
}

const withoutSecrets = (data: string): string =>
  data.replace(/(^|,)((?:pass|password|password2)=)[^,]*/g, '$1$2********');

const errorWords: Record<string, string> = {
  EACCES: 'permission denied',
  EBUSY: 'device or resource busy',
  ECONNREFUSED: 'connection refused',
  EINVAL: 'invalid argument',
  ENODEV: 'no such device',
  ENOENT: 'no such file or directory',
  ENOTBLK: 'block device required',
  ENOTDIR: 'not a directory',
  EPERM: 'operation not permitted',
  ETIMEDOUT: 'connection timed out',
};

const kernelWords = ({ code }: SyscallError): string => errorWords[code] ?? code;
