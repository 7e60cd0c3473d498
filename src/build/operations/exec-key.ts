import { createHash } from 'node:crypto';
import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type ExecOp, type Meta, type Mount, MountContentCache, MountType } from '../../protocol/index.ts';

export interface StepPlatform {
  os: string;
  architecture: string;
  variant: string;
}

/** What of one input takes part in a step's key. */
export interface InputUse {
  /** Absolute paths in it; empty: all of it. */
  selectors: readonly string[];
  /** What lies there decides, whatever it came from. */
  byContent: boolean;
}

/**
 * The digest of a step by definition, as BuildKit has it: over the command and its surroundings, the mounts' shapes, the platform. What
 * does not count: addresses of extra hosts, proxies, what mounts select (their content does), secrets.
 */
export function execDigest(op: ExecOp, platform: StepPlatform): string {
  const { os, architecture, variant } = platform;
  const document = {
    Type: 'buildkit.exec.v0',
    Exec: execDocument(op),
    OS: os,
    Arch: architecture,
    ...(variant === '' ? {} : { Variant: variant }),
  };
  // Go escapes these in strings, and JSON.stringify does not.
  const text = JSON.stringify(document, bigintAsNumber).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

const bigintAsNumber = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? Number(value) : value);

/** Without what is zero or empty, as Go's `omitempty` leaves it out. */
function filled(fields: Record<string, unknown>): Record<string, unknown> {
  const isEmpty = (value: unknown) =>
    value === undefined ||
    value === '' ||
    value === 0 ||
    value === 0n ||
    value === false ||
    (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

function execDocument(op: ExecOp): Record<string, unknown> {
  const [root] = op.mounts;
  // As with old versions of BuildKit: a step with its root alone has no mounts to tell of.
  const isPlain = op.mounts.length === 1 && root!.dest === '/';
  return filled({
    meta: op.meta && metaDocument(op.meta),
    mounts: isPlain ? [] : op.mounts.map(mountDocument),
    network: op.network,
    security: op.security,
    secretenv: op.secretenv.map(({ ID, name, optional }) => filled({ ID, name, optional })),
    cdiDevices: op.cdiDevices.map(({ name, optional }) => filled({ name, optional })),
  });
}

function metaDocument(meta: Meta): Record<string, unknown> {
  const { args, env, cwd, user, hostname, cgroupParent, removeMountStubsRecursive, validExitCodes } = meta;
  return filled({
    ...{ args, env, cwd, user },
    extraHosts: meta.extraHosts.map(({ Host }) => filled({ Host })),
    hostname,
    ulimit: meta.ulimit.map(({ Name, Soft, Hard }) => filled({ Name, Soft, Hard })),
    ...{ cgroupParent, removeMountStubsRecursive, validExitCodes },
  });
}

function mountDocument(mount: Mount): Record<string, unknown> {
  const { TmpfsOpt, cacheOpt, secretOpt, SSHOpt } = mount;
  const file = (option: { ID: string; uid: number; gid: number; mode: number; optional: boolean } | undefined) =>
    option && filled({ ID: option.ID, uid: option.uid, gid: option.gid, mode: option.mode, optional: option.optional });
  return {
    ...filled({ input: mount.input, dest: mount.dest, output: mount.output, readonly: mount.readonly }),
    ...filled({
      mountType: mount.mountType,
      TmpfsOpt: TmpfsOpt && filled({ size: TmpfsOpt.size }),
      cacheOpt: cacheOpt && filled({ ID: cacheOpt.ID, sharing: cacheOpt.sharing }),
      secretOpt: file(secretOpt),
      SSHOpt: file(SSHOpt),
      resultID: mount.resultID,
      contentCache: mount.contentCache,
    }),
  };
}

/**
 * How each input takes part in the key: what is only read counts by its content, what is written to by where it came from.
 *
 * @throws {TareError} InvalidArgument: a mount names an input that there is not, or asks for what cannot be
 */
export function inputUses(mounts: readonly Mount[], count: number): InputUse[] {
  const uses = Array.from({ length: count }, () => ({ selectors: new Set<string>(), isWhole: false, byContent: true }));
  const seen = new Set<number>();
  for (const mount of mounts) {
    if ([MountType.SECRET, MountType.SSH, MountType.TMPFS].includes(mount.mountType) || mount.input === -1n) continue;
    const use = uses[Number(mount.input)];
    if (use === undefined) throw new TareError('InvalidArgument', `mount ${mount.dest}: missing input ${mount.input}`);
    seen.add(Number(mount.input));
    if (mount.selector === '') use.isWhole = true;
    else use.selectors.add(posix.resolve('/', mount.selector));
    use.byContent &&= countsByContent(mount);
  }
  return uses.map(({ selectors, isWhole, byContent }, index) => ({
    selectors: isWhole ? [] : outermost([...selectors]),
    byContent: byContent && seen.has(index),
  }));
}

function countsByContent(mount: Mount): boolean {
  switch (mount.contentCache) {
    case MountContentCache.OFF:
      return false;
    case MountContentCache.ON:
      if (mount.readonly || mount.output === -1n) return true;
      throw new TareError('InvalidArgument', `mount ${mount.dest}: what is written to cannot be cached by content`);
    default:
      return (mount.readonly && mount.dest !== '/') || mount.output === -1n;
  }
}

/** Without paths that lie in others, sorted. */
function outermost(paths: readonly string[]): string[] {
  const isIn = (path: string, other: string) => path !== other && path.startsWith(other === '/' ? '/' : `${other}/`);
  return paths.filter((path) => !paths.some((other) => isIn(path, other))).sort();
}

export const selectorOf = (selectors: readonly string[]): string | undefined =>
  selectors.length === 0 ? undefined : `sha256:${createHash('sha256').update(selectors.join('\0')).digest('hex')}`;
