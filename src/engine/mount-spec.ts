import { TareError } from '../errors/index.ts';
import type { MountRequest } from '../runtime/index.ts';

const accessModes = new Set(['rw', 'ro']);
const labelModes = new Set(['z', 'Z']);
const propagationModes = new Set(['shared', 'slave', 'private', 'rshared', 'rslave', 'rprivate']);
const copyModes = new Set(['nocopy']);
const consistencyModes = new Set(['consistent', 'cached', 'delegated', 'default']);

const volumeName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A short-form bind or volume, split. */
export interface BindSpec {
  /** A host path, a volume's name, or '' for an anonymous volume. */
  source: string;
  destination: string;
  mode: string;
  readOnly: boolean;
  propagation: string;
  noCopy: boolean;
}

/**
 * Splits `[SOURCE:]DESTINATION[:MODE]` as docker does.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function parseBindSpec(text: string): BindSpec {
  const invalid = (why: string) =>
    new TareError('InvalidArgument', `invalid volume specification: '${text}'${why === '' ? '' : `: ${why}`}`);
  const parts = text.split(':');
  if (parts.length > 3 || parts.some((part) => part === '')) throw invalid('');
  let source = '';
  let destination: string;
  let mode = '';
  if (parts.length === 1) destination = parts[0]!;
  else if (parts.length === 2 && !parts[1]!.startsWith('/') && parts[1]!.split(',').every(isMode)) {
    [destination, mode] = parts as [string, string];
  } else {
    [source, destination] = parts as [string, string];
    mode = parts[2] ?? '';
  }
  if (!destination.startsWith('/')) throw invalid(`invalid mount config: mount path must be absolute: ${destination}`);
  destination = cleanPath(destination);
  if (destination === '/') throw invalid("destination can't be '/'");
  if (source !== '' && !source.startsWith('/') && !volumeName.test(source)) {
    throw new TareError(
      'InvalidArgument',
      `create ${source}: "${source}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
  const words = mode === '' ? [] : mode.split(',');
  const bad = words.find((word) => !isMode(word));
  if (bad !== undefined) throw new TareError('InvalidArgument', `invalid mode: ${mode}`);
  for (const group of [accessModes, labelModes, propagationModes, consistencyModes]) {
    if (words.filter((word) => group.has(word)).length > 1) {
      throw new TareError('InvalidArgument', `invalid mode: ${mode}`);
    }
  }
  const propagation = words.find((word) => propagationModes.has(word)) ?? '';
  if (propagation !== '' && !source.startsWith('/')) throw new TareError('InvalidArgument', `invalid mode: ${mode}`);
  return {
    source: source.startsWith('/') ? cleanPath(source) : source,
    destination,
    mode,
    readOnly: words.includes('ro'),
    propagation,
    noCopy: words.includes('nocopy'),
  };
}

const isMode = (word: string): boolean =>
  accessModes.has(word) ||
  labelModes.has(word) ||
  propagationModes.has(word) ||
  copyModes.has(word) ||
  consistencyModes.has(word);

/**
 * Checks a long-form mount by itself (whether its source exists is the host's matter).
 * @throws {TareError} InvalidArgument with docker's text
 */
export function checkMountRequest(mount: MountRequest): void {
  const invalid = (why: string) =>
    new TareError('InvalidArgument', `invalid mount config for type "${mount.type}": ${why}`);
  if (mount.target === '') throw invalid('field Target must not be empty');
  if (!mount.target.startsWith('/')) throw invalid(`invalid mount path: '${mount.target}' mount path must be absolute`);
  if (cleanPath(mount.target) === '/') throw invalid("invalid specification: destination can't be '/'");
  const only = (key: 'bind' | 'volume' | 'tmpfs' | 'image', text: string) => {
    if (mount.type !== key && mount[key] !== undefined) throw invalid(`field ${text} must not be specified`);
  };
  only('bind', 'BindOptions');
  only('volume', 'VolumeOptions');
  only('tmpfs', 'TmpfsOptions');
  only('image', 'ImageOptions');
  switch (mount.type) {
    case 'bind':
      if (mount.source === '') throw invalid('field Source must not be empty');
      if (!mount.source.startsWith('/')) {
        throw invalid(`invalid mount path: '${mount.source}' mount path must be absolute`);
      }
      if (mount.bind !== undefined && mount.bind.propagation !== '' && !propagationModes.has(mount.bind.propagation)) {
        throw invalid(`invalid propagation mode: ${mount.bind.propagation}`);
      }
      break;
    case 'volume':
      if (mount.source !== '' && !volumeName.test(mount.source)) {
        throw invalid(
          `"${mount.source}" includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
        );
      }
      if (mount.source === '' && mount.readOnly)
        throw invalid('must not set ReadOnly mode when using anonymous volumes');
      checkSubpath(mount.volume?.subpath ?? '', 'volume');
      break;
    case 'tmpfs':
      if (mount.source !== '') throw invalid('field Source must not be specified');
      break;
    case 'image':
      if (mount.source === '') throw invalid('field Source must not be empty');
      checkSubpath(mount.image?.subpath ?? '', 'image');
  }

  function checkSubpath(subpath: string, what: string): void {
    if (!subpath.startsWith('/') && !subpath.split('/').includes('..')) return;
    throw invalid(`subpath must be a relative path within the ${what}: ${subpath}`);
  }
}

/**
 * Splits `CONTAINER[:MODE]` of `--volumes-from`. How a mount propagates and whether it is filled stays as it is there.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function parseVolumesFrom(text: string): { container: string; readOnly: boolean } {
  if (text === '') throw new TareError('InvalidArgument', 'volumes-from specification cannot be an empty string');
  const [container = '', mode] = text.split(/:(.*)/s, 2);
  if (mode === undefined) return { container, readOnly: false };
  const words = mode.split(',');
  const knows = words.every((word) => accessModes.has(word) || labelModes.has(word));
  const repeats = [accessModes, labelModes].some((group) => words.filter((word) => group.has(word)).length > 1);
  if (!knows || repeats) throw new TareError('InvalidArgument', `invalid mode: ${mode}`);
  return { container, readOnly: words.includes('ro') };
}

/** A path without `.`, `..`, doubled or trailing slashes (Go's path.Clean for absolute paths). */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return `/${parts.join('/')}`;
}
