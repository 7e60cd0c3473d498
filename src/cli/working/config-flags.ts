import type { ClearedList, ConfigChanges, WorkingContainerView } from '../../engine/index.ts';
import { splitPair } from '../grammar/fields.ts';
import { jsonWords, splitWords } from '../grammar/shell-words.ts';
import { durationFlag } from '../grammar/times.ts';
import { UsageError } from '../grammar/usage-error.ts';
import type { Options, Values } from '../option.ts';

/** buildah's options of a working container's config. */
export const configFlags = {
  'add-history': { type: 'bool', help: 'Add an entry to the history for each change' },
  annotation: { type: 'list', short: 'a', help: 'Annotation of the image (KEY=VALUE; KEY- takes one away, - all)' },
  arch: { type: 'string', help: 'Architecture of the image' },
  author: { type: 'string', help: 'Author of the image' },
  cmd: { type: 'string', help: 'Command, as words or as a JSON list' },
  comment: { type: 'string', help: 'Comment of the image' },
  'created-by': { type: 'string', help: 'What the history says made the image' },
  entrypoint: { type: 'string', help: 'Entry point: a JSON list, or text for a shell' },
  env: {
    type: 'list',
    short: 'e',
    help: 'Environment variable (NAME=VALUE, where $OTHER is what another has; NAME- takes one away, - all)',
  },
  healthcheck: { type: 'string', help: 'Health check: CMD and words, CMD-SHELL and text, a JSON list, or NONE' },
  'healthcheck-interval': { type: 'string', value: 'duration', help: 'Time between health checks' },
  'healthcheck-retries': { type: 'int', help: 'Failures in a row that make it unhealthy' },
  'healthcheck-start-period': {
    type: 'string',
    value: 'duration',
    help: 'Time to start in, in which failures do not count',
  },
  'healthcheck-timeout': { type: 'string', value: 'duration', help: 'Time that a health check may take' },
  'history-comment': { type: 'string', help: 'What the history remarks at the layer of the next commit' },
  label: { type: 'list', short: 'l', help: 'Label (KEY=VALUE; KEY- takes one away, - all)' },
  onbuild: { type: 'list', help: 'Instruction for builds that begin with the image (- takes all away)' },
  os: { type: 'string', help: 'Operating system of the image' },
  'os-feature': { type: 'list', help: 'Feature of the operating system that the image needs (- takes all away)' },
  'os-version': { type: 'string', help: 'Version of the operating system that the image needs' },
  port: { type: 'list', short: 'p', help: 'Ports that are exposed (PORT[/PROTOCOL],...; PORT- takes one away, - all)' },
  shell: { type: 'string', help: 'Shell of the image, as words or as a JSON list' },
  'stop-signal': { type: 'string', help: 'Signal that ends a container' },
  user: { type: 'string', short: 'u', help: 'User that commands run as' },
  variant: { type: 'string', help: 'Variant of the architecture of the image' },
  volume: { type: 'list', short: 'v', help: 'Paths of volumes (PATH,...; PATH- takes one away, - all)' },
  workingdir: { type: 'string', help: 'Folder that commands run in' },
} as const satisfies Options;

type Flags = Values<typeof configFlags>;

/** What is to be cleared, added and taken away, in docker's and buildah's words for lists. */
class Draft {
  readonly cleared: ClearedList[] = [];

  /** `KEY=VALUE`, `KEY`, `KEY-`, `-`. */
  map(list: ClearedList, texts: readonly string[]): Record<string, string | null> | undefined {
    const entries = this.#entries(list, texts, (text): [string, string] => {
      const [key, value = ''] = splitPair(text);
      return [key, value];
    });
    return entries && Object.fromEntries(entries);
  }

  /** `WORD`, `WORD-`, `-`. */
  set(list: ClearedList, texts: readonly string[]): Record<string, true | null> | undefined {
    const entries = this.#entries(list, texts, (text) => [text, true] as [string, true]);
    return entries && Object.fromEntries(entries);
  }

  /** `WORD`, `-`. */
  words(list: ClearedList, texts: readonly string[]): string[] | undefined {
    const entries = this.#entries(list, texts, (text) => [text, true] as [string, true]);
    return entries?.map(([word]) => word);
  }

  #entries<T>(
    list: ClearedList,
    texts: readonly string[],
    added: (text: string) => [string, T],
  ): [string, T | null][] | undefined {
    if (texts.length === 0) return undefined;
    let entries: [string, T | null][] = [];
    for (const text of texts) {
      if (text === '-') {
        this.cleared.push(list);
        entries = [];
      } else if (list !== 'onBuild' && text.endsWith('-') && !text.includes('='))
        entries.push([text.slice(0, -1), null]);
      else entries.push(added(text));
    }
    return entries;
  }
}

/** @param current what the container says now, of which a health check's parts stay that are not named @throws {UsageError} */
export function readConfigFlags(
  flags: Flags,
  current: Pick<WorkingContainerView, 'config'>,
  env: NodeJS.ProcessEnv = process.env,
): ConfigChanges {
  const draft = new Draft();
  const changes = {
    annotations: draft.map('annotations', flags.annotation),
    env: draft.map('env', assignments(flags.env, current, env)),
    labels: draft.map('labels', flags.label),
    ports: draft.set('ports', separated(flags.port)),
    volumes: draft.set('volumes', separated(flags.volume)),
    onBuild: draft.words('onBuild', flags.onbuild),
    cmd: flags.cmd === undefined ? undefined : wordsOf(flags.cmd),
    entrypoint: flags.entrypoint === undefined ? undefined : entrypointOf(flags.entrypoint),
    shell: flags.shell === undefined ? undefined : wordsOf(flags.shell),
    user: orNull(flags.user),
    workingDir: orNull(flags.workingdir),
    stopSignal: orNull(flags['stop-signal']),
    healthcheck: healthcheckOf(flags, current),
    author: flags.author,
    comment: flags.comment,
    createdBy: flags['created-by'],
    historyComment: flags['history-comment'],
    architecture: flags.arch,
    os: flags.os,
    variant: flags.variant,
    osVersion: flags['os-version'],
    osFeatures: flags['os-feature'].length > 0 ? flags['os-feature'].filter((word) => word !== '-') : undefined,
  } satisfies { [K in keyof ConfigChanges]: ConfigChanges[K] | undefined };
  const said = Object.entries(changes).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(said), clear: draft.cleared, addsHistory: flags['add-history'] };
}

/** Several may be in one word. */
const separated = (texts: readonly string[]): string[] => texts.flatMap((text) => text.split(','));

/**
 * Environment variables with their values: `$NAME` and `${NAME}` are what the image has by then, `$$` is the character, and a name alone has
 * the value that it has here.
 */
function assignments(
  texts: readonly string[],
  { config }: Pick<WorkingContainerView, 'config'>,
  env: NodeJS.ProcessEnv,
): string[] {
  const known = new Map((config.Env ?? []).map(splitPair));
  return texts.map((text) => {
    const [name, value] = splitPair(text);
    if (value === undefined && name.endsWith('-')) {
      if (name === '-') known.clear();
      else known.delete(name.slice(0, -1));
      return text;
    }
    const assigned = value === undefined ? ownValue(name, env) : expand(value, name, known);
    known.set(name, assigned);
    return `${name}=${assigned}`;
  });
}

function ownValue(name: string, env: NodeJS.ProcessEnv): string {
  const value = env[name];
  if (value !== undefined) return value;
  throw new UsageError(`no value for --env ${name}: it is not in this environment; want NAME=VALUE`);
}

function expand(text: string, target: string, known: ReadonlyMap<string, string | undefined>): string {
  return text.replace(/\$(?:(\$)|(\w+)|\{([^}]*)\})/g, (whole, sign?: string, plain?: string, braced?: string) => {
    const value = sign ?? known.get(plain ?? braced ?? '');
    if (value !== undefined) return value;
    throw new UsageError(`${whole} in --env ${target}=${text}: the image has no such variable; $$ is the character $`);
  });
}

/** Nothing takes a value away. */
const orNull = (text: string | undefined): string | null | undefined => (text === '' ? null : text);

function wordsOf(text: string): string[] | null {
  const words = jsonWords(text) ?? splitWords(text);
  return words.length === 0 ? null : words;
}

function entrypointOf(text: string): string[] | null {
  if (text.trim() === '') return null;
  return jsonWords(text) ?? ['/bin/sh', '-c', text];
}

function healthcheckOf(flags: Flags, { config }: Pick<WorkingContainerView, 'config'>): ConfigChanges['healthcheck'] {
  const duration = (name: 'healthcheck-interval' | 'healthcheck-start-period' | 'healthcheck-timeout') => {
    const text = flags[name];
    return text === undefined ? undefined : durationFlag(text, `--${name}`);
  };
  const retries = flags['healthcheck-retries'];
  if (retries !== undefined && retries < 0) throw new UsageError('--healthcheck-retries cannot be negative');
  const parts = {
    Test: flags.healthcheck === undefined ? undefined : testOf(flags.healthcheck),
    Interval: duration('healthcheck-interval'),
    StartPeriod: duration('healthcheck-start-period'),
    Timeout: duration('healthcheck-timeout'),
    Retries: retries,
  };
  const said = Object.entries(parts).filter(([, value]) => value !== undefined);
  if (said.length === 0) return undefined;
  if (flags.healthcheck?.trim() === '') return null;
  return { ...config.Healthcheck, ...Object.fromEntries(said) };
}

function testOf(text: string): string[] {
  const [, word = '', rest = ''] = /^\s*(\S+)\s*(.*)$/s.exec(text) ?? [];
  if (word.toUpperCase() === 'NONE' && rest === '') return ['NONE'];
  if (word === 'CMD') return ['CMD', ...(jsonWords(rest) ?? splitWords(rest))];
  const list = jsonWords(text);
  if (list !== undefined) return ['NONE', 'CMD', 'CMD-SHELL'].includes(list[0] ?? '') ? list : ['CMD', ...list];
  return ['CMD-SHELL', word === 'CMD-SHELL' ? rest : text.trim()];
}
