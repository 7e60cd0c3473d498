import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { NetMode } from '../../protocol/index.ts';
import * as llb from '../llb/index.ts';
import { type Conversion, notesOf, operationPlatformOf, platformOf } from './conversion.ts';
import { ENTRY, PART } from './expansion-meter.ts';
import { record } from './image-document.ts';
import { agentOf, isOwned, ownedFolder, secretOf } from './mount-words.ts';
import { chompTabs, hereDocumentIn, type Mount, type RunInstruction, readMount } from './parse/index.ts';
import type { Command, StageBuild } from './stage.ts';
import { stepName, withUpperKeyword } from './step-name.ts';

const PIPES = '/dev/pipes/';
const DEFAULT_SHELL = ['/bin/sh', '-c'];
const WINDOWS_SHELL = ['cmd', '/S', '/C'];

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** The words of a shell form, with the shell. */
export const withShell = (stage: StageBuild, words: readonly string[]): string[] => {
  const own = stage.image.config.Shell ?? [];
  const shell = own.length > 0 ? own : stage.image.os === 'windows' ? WINDOWS_SHELL : DEFAULT_SHELL;
  return [...shell, words.join(' ')];
};

export function convertRun(conversion: Conversion, stage: StageBuild, { instruction, sources }: Command): void {
  if (instruction.kind !== 'run') return;
  const { options, words, meter } = conversion;
  meter(stage.env.size * ENTRY + instruction.mounts.length * PART);
  const expand = (word: string) => words.expand(word, stage.env, instruction);
  const mounts = instruction.mounts.map((flag) => readMount(flag, expand));
  stage.mountsOf.set(instruction, mounts);
  const script = scriptOf(stage, instruction);
  const parts = mountParts(conversion, stage, mounts, sources);
  if (script.mount !== undefined) parts.mounts.unshift(script.mount);
  if (options.shmSizeBytes > 0) {
    parts.mounts.push({ target: '/dev/shm', source: undefined, tmpfs: { sizeBytes: options.shmSizeBytes } });
  }
  const shown = words.show(script.shown, maskSecrets(stage.env, mounts), { isCommand: true });
  const name = stepName(stage, withUpperKeyword(shown), options.isMultiPlatform, platformOf(stage, conversion));
  const { root } = llb.exec(
    {
      root: stage.tree,
      args: script.args,
      env: new Map(stage.env),
      directory: stage.directory,
      user: stage.image.config.User ?? '',
      hostname: options.hostname,
      cgroupParent: options.cgroupParent,
      ...parts,
      proxy: conversion.proxy,
      extraHosts: options.extraHosts,
      ulimits: options.ulimits,
      network: networkOf(instruction, options.network),
      isInsecure: instruction.security === 'insecure',
      devices: [
        ...options.devices.map((device) => ({ name: device, isOptional: false })),
        ...instruction.devices.map((device) => ({ name: device.name, isOptional: !device.isRequired })),
      ],
      platform: operationPlatformOf(stage, conversion),
    },
    { ...notesOf(conversion, stage, name, instruction.ranges), command: instruction.original },
  );
  stage.tree = root;
  // A command may read any file.
  stage.usedPaths.add('/');
  record(stage.image, `RUN ${commandText(stage, script.args)} # buildkit`, true, options.epochSeconds);
}

interface Script {
  args: string[];
  /** The instruction as progress shows it. */
  shown: string;
  mount?: llb.ExecMount;
}

/** The arguments of a RUN, here-documents included. */
function scriptOf(stage: StageBuild, instruction: RunInstruction): Script {
  const { form, words, hereDocuments } = instruction.command;
  const shown = instruction.original;
  if (form === 'json') {
    if (words.length === 0) throw invalid('RUN [] has no command: give it words, or a line for the shell');
    return { args: [...words], shown };
  }
  const line = words[0] ?? '';
  const [first] = hereDocuments;
  if (first === undefined) return { args: withShell(stage, words), shown };
  if (hereDocumentIn(line) === undefined) {
    // The shell reads them itself.
    const bodies = hereDocuments.map(({ content, name }) => `\n${content}${name}`).join('');
    return { args: withShell(stage, [line + bodies]), shown };
  }
  const content = first.isChomped ? chompTabs(first.content) : first.content;
  const summarized = `${shown} (${summaryOf(first.content)})`;
  if (stage.image.os === 'windows' || !first.content.startsWith('#!')) {
    return { args: withShell(stage, [content]), shown: summarized };
  }
  const file = llb.file(
    undefined,
    [{ kind: 'mkfile', path: `/${first.name}`, mode: 0o755, content: Buffer.from(content) }],
    { name: '[internal] preparing inline document' },
  );
  return {
    args: withShell(stage, [posix.join(PIPES, first.name)]),
    shown: summarized,
    mount: { target: PIPES, source: file, selector: '/', isReadOnly: true },
  };
}

function summaryOf(document: string): string {
  const lines = document.trim().split(/\r?\n/);
  return lines.length > 1 ? `${lines[0]}...` : lines[0]!;
}

function networkOf({ network }: RunInstruction, preset: NetMode): NetMode {
  if (network === 'none') return NetMode.NONE;
  return network === 'host' ? NetMode.HOST : preset;
}

/** For display: which values come from secrets. */
function maskSecrets(env: ReadonlyMap<string, string>, mounts: readonly Mount[]): ReadonlyMap<string, string> {
  const masked = mounts.flatMap((mount) => (mount.type === 'secret' && mount.env !== undefined ? [mount.env] : []));
  return masked.length === 0 ? env : new Map([...env, ...masked.map((key) => [key, '****'] as const)]);
}

/** `|2 A=b C=d /bin/sh -c make`: the arguments that a command ran with, and the command. */
function commandText(stage: StageBuild, args: readonly string[]): string {
  const values = new Map(stage.buildArgs.map(({ key, value }) => [key, stage.env.get(key) ?? value ?? '']));
  const prefix = values.size === 0 ? [] : [`|${values.size}`, ...[...values].map(([key, value]) => `${key}=${value}`)];
  return [...prefix, ...args].join(' ');
}

interface MountParts {
  mounts: llb.ExecMount[];
  secrets: llb.SecretMount[];
  ssh: llb.SshMount[];
}

function mountParts(
  conversion: Conversion,
  stage: StageBuild,
  mounts: readonly Mount[],
  sources: readonly (StageBuild | undefined)[],
): MountParts {
  const parts: MountParts = { mounts: [], secrets: [], ssh: [] };
  mounts.forEach((mount, i) => {
    if (mount.type === 'secret') parts.secrets.push(secretOf(mount));
    else if (mount.type === 'ssh') parts.ssh.push(agentOf(mount));
    else parts.mounts.push(treeMount(conversion, stage, mount, sources[i]));
  });
  return parts;
}

function treeMount(
  conversion: Conversion,
  stage: StageBuild,
  mount: Mount,
  source: StageBuild | undefined,
): llb.ExecMount {
  const target = posix.resolve('/', stage.directory, mount.target);
  if (target === '/') throw invalid(`invalid mount target ${JSON.stringify(mount.target)}: want a path below /`);
  if (mount.type === 'tmpfs') {
    return { target, source: undefined, tmpfs: { sizeBytes: mount.sizeBytes ?? 0 } };
  }
  if (source !== undefined && !source.isDone) {
    throw invalid(
      `cannot mount from stage ${JSON.stringify(mount.from)} to ${JSON.stringify(mount.target)}, stage needs to be defined before current command`,
    );
  }
  const path = posix.join('/', mount.source);
  const result: llb.ExecMount = { target, source: sourceOf(conversion, stage, mount, source, path) };
  if (path !== '/') result.selector = path;
  else if (isOwned(mount)) {
    result.source = llb.file(result.source, [ownedFolder(mount)], {
      name: '[internal] setting cache mount permissions',
    });
    result.selector = '/cache';
  }
  if (mount.type === 'cache') {
    const id = mount.id === '' ? posix.normalize(mount.target) : mount.id;
    result.cache = { id: `${conversion.options.cacheNamespace}/${id}`, sharing: mount.sharing };
  }
  if (mount.isReadOnly) result.isReadOnly = true;
  else if (mount.type === 'bind') result.hasNoOutput = true;
  return result;
}

function sourceOf(
  conversion: Conversion,
  stage: StageBuild,
  mount: Mount,
  source: StageBuild | undefined,
  path: string,
): llb.Output | undefined {
  if (source !== undefined) {
    source.usedPaths.add(path);
    return source.tree;
  }
  if (mount.type === 'cache') return undefined;
  stage.contextPaths.add(path);
  return conversion.context;
}
