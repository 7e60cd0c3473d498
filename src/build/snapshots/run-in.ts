import { statSync } from 'node:fs';
import { posix, resolve } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { NetMode } from '../../protocol/index.ts';
import type { SpecMount } from '../../runtime/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { agentOf, isOwned, ownedFolder, secretOf } from '../dockerfile/mount-words.ts';
import type { Mount } from '../dockerfile/parse/index.ts';
import { parseMountFlag, readMount } from '../dockerfile/parse/read-mount.ts';
import { MountTargets } from '../executor/mount-targets.ts';
import { openStepContainer } from '../executor/step-container.ts';
import type { FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import type { OperationContext } from '../operation.ts';
import { treeOf } from './copy-into.ts';
import type { RunIn } from './snapshot-types.ts';

const networks = { default: NetMode.UNSET, none: NetMode.NONE, host: NetMode.HOST } as const;

const invalid = (message: string) => new TareError('InvalidArgument', message);

/**
 * Runs a command in a snapshot, whose changes stay, as a RUN is run: with its isolation and its mounts.
 *
 * @returns its exit code, 128 + signal when one ended it
 * @throws {TareError} CommandNotFound, NotExecutable; Forbidden: it was not allowed; InvalidArgument, NotFound: a mount
 */
export async function runIn(
  parts: BuilderParts,
  request: RunIn,
  bridge: FrontendBridge,
  context: Pick<OperationContext, 'sessions' | 'allows'>,
): Promise<number> {
  const { op, outputs, binds } = planOf(request);
  const trees = await Promise.all(outputs.map((output) => treeOf(bridge, output, request)));
  await using step = await openStepContainer(
    parts,
    {
      mounts: op.mounts,
      inputs: trees,
      cwd: request.directory,
      network: op.network,
      devices: op.cdiDevices,
      architecture: request.platform.architecture,
      rootSnapshot: request.snapshot,
      rootNotes: request.notes,
      binds: [...binds, ...request.binds.map(bindOf)],
    },
    { ...context, signal: bridge.signal },
  );
  const running = await step.start({
    meta: op.meta!,
    security: op.security,
    secretEnv: op.secretenv,
    terminal: request.terminal,
    stdin: request.stdin,
    ...(request.capabilities === undefined ? {} : { capabilities: request.capabilities }),
  });
  const [exitCode] = await Promise.all([running.ended, request.attend(running)]);
  bridge.signal.throwIfAborted();
  return exitCode;
}

/**
 * Takes back the places for mounts that a command left in a snapshot because its process was killed. It must have ended.
 * @param root where the snapshot is mounted
 */
export const takeBackMountPlaces = (root: string, notes: string): void => new MountTargets(root, notes).takeBackNoted();

/** The command in the words of a graph, the trees that its mounts are of, in their order, and what of the host it sees. */
function planOf(request: RunIn) {
  const mounts: llb.ExecMount[] = [];
  const secrets: llb.SecretMount[] = [];
  const ssh: llb.SshMount[] = [];
  const binds: SpecMount[] = [];
  for (const text of request.mounts) {
    const mount = readMount(parseMountFlag(text), (word) => word);
    if (mount.type === 'secret') secrets.push(secretOf(mount));
    else if (mount.type === 'ssh') ssh.push(agentOf(mount));
    else if (mount.type === 'bind' && mount.from === undefined)
      binds.push(
        bindOf({ source: resolve(mount.source), target: targetOf(request, mount), isReadOnly: mount.isReadOnly }),
      );
    else mounts.push(treeMount(request, mount));
  }
  if ((request.shmSizeBytes ?? 0) > 0)
    mounts.push({ target: '/dev/shm', source: undefined, tmpfs: { sizeBytes: request.shmSizeBytes! } });
  const { root } = llb.exec({
    root: undefined,
    args: request.command,
    env: new Map(request.env.map(variableOf)),
    directory: request.directory,
    user: request.user,
    ...(request.hostname === undefined ? {} : { hostname: request.hostname }),
    ...{ mounts, secrets, ssh },
    extraHosts: request.extraHosts ?? [],
    ulimits: request.ulimits ?? [],
    devices: (request.devices ?? []).map((name) => ({ name, isOptional: false })),
    network: networks[request.network],
    isInsecure: request.isPrivileged ?? false,
    platform: request.platform,
  });
  const outputs: llb.Output[] = [];
  const op = root.vertex.encode({
    indexOf: (output) => {
      if (output === undefined) return -1n;
      const known = outputs.indexOf(output);
      return BigInt(known >= 0 ? known : outputs.push(output) - 1);
    },
    get size() {
      return outputs.length;
    },
  });
  if (op.case !== 'exec') throw new Error('a command is none');
  return { op: op.value, outputs, binds };
}

const variableOf = (text: string): [string, string] => {
  const equals = text.indexOf('=');
  return equals < 0 ? [text, ''] : [text.slice(0, equals), text.slice(equals + 1)];
};

function targetOf({ directory }: RunIn, { target }: Mount): string {
  const path = posix.resolve('/', directory, target);
  if (path === '/') throw invalid(`invalid mount target ${JSON.stringify(target)}: want a path below /`);
  return path;
}

/** As those of RUN are. */
function treeMount(request: RunIn, mount: Mount): llb.ExecMount {
  const target = targetOf(request, mount);
  if (mount.type === 'tmpfs') return { target, source: undefined, tmpfs: { sizeBytes: mount.sizeBytes ?? 0 } };
  const image =
    mount.from === undefined
      ? undefined
      : llb.image(mount.from, { platform: request.platform }, { name: `FROM ${mount.from}` });
  const selector = posix.join('/', mount.source);
  const isNewFolder = selector === '/' && isOwned(mount);
  return {
    target,
    source: isNewFolder ? llb.file(image, [ownedFolder(mount)]) : image,
    ...(isNewFolder ? { selector: '/cache' } : selector === '/' ? {} : { selector }),
    isReadOnly: mount.isReadOnly,
    hasNoOutput: true,
    ...(mount.type === 'cache'
      ? { cache: { id: `/${mount.id === '' ? posix.normalize(mount.target) : mount.id}`, sharing: mount.sharing } }
      : {}),
  };
}

function bindOf({ source, target, isReadOnly }: RunIn['binds'][number]): SpecMount {
  const found = statSync(source, { throwIfNoEntry: false });
  if (found === undefined) throw new TareError('NotFound', `bind mount of ${source}: there is no such file or folder`);
  const destination = posix.resolve('/', target);
  if (destination === '/') throw invalid(`invalid mount target ${JSON.stringify(target)}: want a path below /`);
  return { type: 'bind', source, destination, readOnly: isReadOnly, isFile: !found.isDirectory() };
}
