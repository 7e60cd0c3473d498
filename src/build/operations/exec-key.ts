import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { type ExecOp, type Meta, type Mount, MountContentCache, MountType } from '../../protocol/index.ts';
import { filled, goDigest, textDigest } from './go-json.ts';
import { outermost } from './outermost.ts';

export interface StepPlatform {
  os: string;
  architecture: string;
  variant: string;
}

/** What of one input takes part in a step's key. */
export interface InputUse {
  /** Paths of all mounts of it, for keys by definition. */
  selectors: readonly string[];
  /** Absolute paths in it, none in another; empty: all of it. */
  paths: readonly string[];
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
  return goDigest(document);
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
      cacheOpt: cacheOpt && (isUsualCache(mount) ? filled({ ID: cacheOpt.ID }) : {}),
      secretOpt: file(secretOpt),
      SSHOpt: file(SSHOpt),
      resultID: mount.resultID,
      contentCache: mount.contentCache,
    }),
  };
}

/** What a Dockerfile says without an id and without a way of sharing. Of other caches neither counts: they are kept by whom they please. */
function isUsualCache({ cacheOpt, dest }: Mount): boolean {
  const id = cacheOpt?.ID ?? '';
  // A name space may stand before it.
  return cacheOpt?.sharing === 0 && (id === dest || id.slice(id.indexOf('/') + 1) === dest);
}

/**
 * How each input takes part in the key: what is only read counts by its content, what is written to by where it came from.
 *
 * @throws {TareError} InvalidArgument: a mount names an input that there is not, or asks for what cannot be
 */
export function inputUses(mounts: readonly Mount[], count: number): InputUse[] {
  const uses = Array.from({ length: count }, () => ({ selectors: [] as string[], byContent: true }));
  for (const mount of mounts) {
    if ([MountType.SECRET, MountType.SSH, MountType.TMPFS].includes(mount.mountType) || mount.input === -1n) continue;
    const use = uses[Number(mount.input)];
    if (use === undefined) throw new TareError('InvalidArgument', `mount ${mount.dest}: missing input ${mount.input}`);
    const selector = posix.join(ROOT, mount.selector);
    use.selectors.push(selector);
    use.byContent &&= countsByContent(mount, selector);
  }
  return uses.map(({ selectors, byContent }) => ({
    selectors,
    paths: selectors.includes(ROOT) ? [] : outermost(selectors).sort(),
    byContent: byContent && selectors.length > 0,
  }));
}

const ROOT = '/';

function countsByContent(mount: Mount, selector: string): boolean {
  // Of what is written to, only a part is known that the step sees; others would be lost with another's result.
  const isSafe = mount.output === -1n || mount.readonly || selector === ROOT;
  switch (mount.contentCache) {
    case MountContentCache.OFF:
      return false;
    case MountContentCache.ON:
      if (isSafe) return true;
      throw new TareError('InvalidArgument', `mount ${mount.dest}: what is written to cannot be cached by content`);
    default:
      // Digests of whole roots cost more than they gain.
      return isSafe && mount.dest !== ROOT;
  }
}

export const selectorOf = (selectors: readonly string[]): string | undefined =>
  selectors.length === 0 ? undefined : textDigest(selectors.join('\0'));
