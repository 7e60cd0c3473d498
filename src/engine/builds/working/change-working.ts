import { readFile } from 'node:fs/promises';
import { posix, resolve } from 'node:path';
import { type CopyInto, type CopyOrigin, parseIgnoreFile } from '../../../build/index.ts';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { canonical, parseReference, withDefaultTag } from '../../../image/index.ts';
import { openLocalSession } from '../local-session.ts';
import { emptyEntry } from './config-changes.ts';
import { toOwnStreams } from './own-streams.ts';
import { holdWorking, mountNotes, type WorkingDeps } from './working-deps.ts';
import { getWorking, keyOf, updateWorking, type WorkingRecord } from './working-records.ts';
import type { CopyOptions, RunOptions } from './working-types.ts';

const CONTEXT = 'context';
const DEFAULT_SHELL = ['/bin/sh', '-c'];

/** COPY and ADD into a working container. */
export async function copyIntoWorking(
  deps: WorkingDeps,
  id: string,
  verb: 'COPY' | 'ADD',
  sources: readonly string[],
  destination: string,
  options: CopyOptions,
): Promise<void> {
  const { from, contextFolder, ignoreFile, signal = new AbortController().signal } = options;
  if (ignoreFile !== undefined && contextFolder === undefined)
    throw new TareError('InvalidArgument', 'a file of patterns is for a context folder: name that, too');
  if (from !== undefined && contextFolder !== undefined)
    throw new TareError('InvalidArgument', 'files come from a context folder, or from an image or container: not both');
  const other = from === undefined ? undefined : findOther(deps, from);
  if (other?.id === id) throw new TareError('InvalidArgument', `${other.name} cannot be copied into itself`);
  const origin = await originOf(options, other);
  const builder = await deps.builder();
  await using session = openLocalSession({
    ...(contextFolder === undefined ? {} : { folders: { [CONTEXT]: resolve(contextFolder) } }),
    sharedKey: contextFolder === undefined ? '' : resolve(contextFolder),
    asUser: deps.asUser,
  });
  const ids = other === undefined ? [id] : [id, other.id];
  await holdWorking(deps, ids, signal, async ([held]) => {
    const { record, key } = held!;
    const request: CopyInto = {
      ...{ snapshot: key, session, platform: record.platform, origin, isAdd: verb === 'ADD' },
      sources: sources.map((source) => sourceOf(source, origin)),
      destination: placeIn(record, destination),
      ...(options.checksum === undefined ? {} : { checksum: options.checksum }),
      ...(options.chown === undefined ? {} : { owner: options.chown }),
      ...(options.chmod === undefined ? {} : { mode: options.chmod }),
      excludePatterns: options.exclude ?? [],
    };
    await builder.copyInto(request, options.progress ?? (() => {}), signal);
    if (options.addsHistory === true) await note(deps, id, `#(nop) ${verb} ${[...sources, destination].join(' ')}`);
  });
}

/** A working container of this name, before an image of it. */
function findOther({ parts }: WorkingDeps, ref: string): WorkingRecord | undefined {
  try {
    return getWorking(parts.db, ref);
  } catch (error) {
    if (kindOf(error) === 'NotFound') return undefined;
    throw error;
  }
}

async function originOf(
  { from, contextFolder, ignoreFile }: CopyOptions,
  other: WorkingRecord | undefined,
): Promise<CopyOrigin> {
  if (other !== undefined) return { snapshot: keyOf(other.id) };
  if (from !== undefined) return { image: canonical(withDefaultTag(parseReference(from))) };
  if (contextFolder === undefined) return { host: true };
  return { folder: CONTEXT, excludePatterns: ignoreFile === undefined ? [] : await readPatterns(ignoreFile) };
}

async function readPatterns(path: string): Promise<string[]> {
  try {
    return parseIgnoreFile(await readFile(path));
  } catch (error) {
    if (error instanceof TareError) throw error;
    throw new TareError('NotFound', `cannot read the patterns in ${path}: ${messageOf(error)}`, { cause: error });
  }
}

/** Paths of this machine are seen from where this process is; signs of patterns on the way there are plain characters. */
function sourceOf(source: string, origin: CopyOrigin): string {
  const isAddress = /^([a-z]+:\/\/|git@|github\.com\/)/.test(source);
  if (isAddress || source.startsWith('/') || !('host' in origin)) return source;
  return posix.join(process.cwd().replace(/[\\*?[]/g, '\\$&'), source);
}

function placeIn({ config }: WorkingRecord, destination: string): string {
  const isFolder = /(^|\/)\.?$/.test(destination);
  const path = posix.resolve('/', config.WorkingDir ?? '/', destination);
  return isFolder && path !== '/' ? `${path}/` : path;
}

/** RUN in a working container. @returns the exit code */
export async function runInWorking(
  deps: WorkingDeps,
  id: string,
  command: readonly string[],
  options: RunOptions,
): Promise<number> {
  if (command.length === 0) throw new TareError('InvalidArgument', 'no command is named that is to be run');
  const { signal = new AbortController().signal, secrets = {}, sshAgents = {} } = options;
  const builder = await deps.builder();
  await using session = openLocalSession({ secrets, sshAgents, asUser: deps.asUser });
  return await holdWorking(deps, [id], signal, async ([held]) => {
    const { record, key } = held!;
    const { config } = record;
    const code = await builder.runIn(
      {
        ...{ snapshot: key, notes: mountNotes(deps.parts, id), session, platform: record.platform, command },
        env: merged(config.Env ?? [], options.env ?? []),
        user: options.user ?? config.User ?? '',
        directory: posix.resolve('/', config.WorkingDir ?? '/', options.workingDir ?? ''),
        hostname: options.hostname ?? record.id.slice(0, 12),
        mounts: options.mounts ?? [],
        binds: (options.binds ?? []).map(({ isReadOnly = false, source, target }) => ({
          ...{ source: resolve(source), target, isReadOnly },
        })),
        network: options.network ?? 'default',
        capabilities: { add: options.capabilities?.add ?? [], drop: options.capabilities?.drop ?? [] },
        isPrivileged: options.isPrivileged ?? false,
        extraHosts: options.extraHosts ?? [],
        ulimits: options.ulimits ?? [],
        devices: options.devices ?? [],
        shmSizeBytes: options.shmSizeBytes ?? 0,
        terminal: options.terminal ?? false,
        stdin: options.stdin ?? false,
        attend: options.attend ?? toOwnStreams,
      },
      options.progress ?? (() => {}),
      signal,
    );
    if (options.addsHistory === true) {
      const shell = config.Shell ?? DEFAULT_SHELL;
      await noteWords(deps, id, [...shell, ...command].join(' '));
    }
    return code;
  });
}

/** Later words for a variable count. */
function merged(base: readonly string[], over: readonly string[]): string[] {
  const variables = new Map([...base, ...over].map((entry) => [entry.split('=', 1)[0]!, entry]));
  return [...variables.values()];
}

const note = (deps: WorkingDeps, id: string, words: string) => noteWords(deps, id, `/bin/sh -c ${words}`);

async function noteWords({ parts }: WorkingDeps, id: string, words: string): Promise<void> {
  await updateWorking(parts.db, id, (record) => {
    record.history.push(emptyEntry(words, Date.now()));
  });
}
