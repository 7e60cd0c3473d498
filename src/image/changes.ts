import { TareError } from '../errors/index.ts';
import type { ImageProcessConfig } from './config.ts';
import {
  expandWord,
  parseExposedPorts,
  parseHealthcheckInstruction,
  parseJsonForm,
  requireSignal,
  splitAtSpaces,
  splitWords,
} from './instructions/index.ts';

const DEFAULT_SHELL = ['/bin/sh', '-c'];
const MAX_CHANGES_CHARACTERS = 1 << 20;
const instructions = 'cmd entrypoint env expose healthcheck label onbuild stopsignal user volume workdir'.split(' ');

const broken = (message: string) => new TareError('InvalidArgument', message);

/**
 * Applies Dockerfile instructions to an image's configuration, as `import --change` and `commit --change` do.
 *
 * @param changes instructions such as `ENV A=b` or `CMD ["/bin/sh"]`, in JSON or shell form
 * @returns a new configuration; the given one stays as it is
 * @throws {TareError} InvalidArgument: the instruction, in docker's words
 * @see Dockerfile reference
 */
export function applyChanges(config: ImageProcessConfig, changes: readonly string[]): ImageProcessConfig {
  const text = changes.join('\n');
  if (text.length > MAX_CHANGES_CHARACTERS) {
    throw broken(`changes: ${text.length} characters, at most ${MAX_CHANGES_CHARACTERS} are allowed`);
  }
  if (text.includes('\0')) throw broken('changes: NUL characters are not allowed');
  const draft = { config: structuredClone(config), isCmdSet: false };
  for (const line of logicalLines(text)) apply(draft, line);
  return draft.config;
}

interface Draft {
  config: ImageProcessConfig;
  /** A CMD among the changes survives an ENTRYPOINT after it; an inherited one doesn't. */
  isCmdSet: boolean;
}

/** Lines without comments, those that end in a backslash joined with the next. */
function logicalLines(text: string): string[] {
  const lines: string[] = [];
  let open = '';
  for (const line of text.split(/\r?\n/)) {
    if (/^\s*(#|$)/.test(line)) continue;
    const continued = /^(.*)\\[ \t]*$/.exec(line)?.[1];
    if (continued !== undefined) open += continued;
    else {
      lines.push((open + line).trim());
      open = '';
    }
  }
  if (open.trim() !== '') lines.push(open.trim());
  return lines;
}

function apply(draft: Draft, line: string): void {
  const [, word = '', rest = ''] = /^(\S+)\s*(.*)$/s.exec(line) ?? [];
  const name = word.toUpperCase();
  if (!instructions.includes(word.toLowerCase())) throw broken(`${word} is not a valid change command`);
  if (rest === '') throw broken(`${name} requires ${oneArgument.includes(name) ? 'exactly' : 'at least'} one argument`);
  const { config } = draft;
  const expansion = (text: string) => expandWord(text, { variables: variablesOf(config) });
  const expand = (text: string) => expansion(text).text;
  switch (name) {
    case 'CMD':
      config.Cmd = commandOf(rest, config);
      draft.isCmdSet = true;
      break;
    case 'ENTRYPOINT': {
      const entrypoint = commandOf(rest, config);
      if (entrypoint.length === 0) delete config.Entrypoint;
      else config.Entrypoint = entrypoint;
      if (!draft.isCmdSet) delete config.Cmd;
      break;
    }
    case 'ENV':
      for (const [key, value] of pairs(name, rest, expand)) setVariable(config, key, value);
      break;
    case 'LABEL':
      config.Labels = { ...config.Labels, ...Object.fromEntries(pairs(name, rest, expand)) };
      break;
    case 'EXPOSE':
      config.ExposedPorts ??= {};
      for (const word of splitAtSpaces(rest).flatMap(({ text }) => expansion(text).words)) {
        for (const port of parseExposedPorts(word).ports) config.ExposedPorts[port] = {};
      }
      break;
    case 'VOLUME':
      config.Volumes = { ...config.Volumes, ...Object.fromEntries(volumesOf(rest, expand).map((path) => [path, {}])) };
      break;
    case 'USER':
      config.User = expand(rest);
      break;
    case 'WORKDIR':
      config.WorkingDir = workingDirectory(config.WorkingDir, expand(rest));
      break;
    case 'STOPSIGNAL':
      config.StopSignal = requireSignal(expand(rest));
      break;
    case 'ONBUILD':
      config.OnBuild = [...(config.OnBuild ?? []), requireTrigger(rest)];
      break;
    case 'HEALTHCHECK':
      config.Healthcheck = parseHealthcheckInstruction(rest);
      break;
  }
}

const oneArgument = ['USER', 'WORKDIR', 'STOPSIGNAL'];

/** JSON form as it stands; else the text for a shell. */
function commandOf(rest: string, config: ImageProcessConfig): string[] {
  return parseJsonForm(rest) ?? [...(config.Shell ?? DEFAULT_SHELL), rest];
}

function variablesOf(config: ImageProcessConfig): Map<string, string> {
  return new Map((config.Env ?? []).map((entry) => entry.split(/=(.*)/s, 2) as [string, string]));
}

/** `KEY=VALUE KEY=VALUE`, or the old form `KEY the whole rest`. */
function pairs(name: string, rest: string, expand: (text: string) => string): [string, string][] {
  const words = splitWords(rest);
  if (!words[0]?.text.includes('=')) {
    const [, key, value] = /^(\S+)\s+(.+)$/s.exec(rest) ?? [];
    if (key === undefined || value === undefined) throw broken(`${name} must have two arguments`);
    return [[requireKey(name, expand(key)), expand(value)]];
  }
  return words.map(({ text: word }) => {
    const equals = word.indexOf('=');
    if (equals < 0) {
      throw broken(`Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`);
    }
    return [requireKey(name, expand(word.slice(0, equals))), expand(word.slice(equals + 1))];
  });
}

function requireKey(name: string, key: string): string {
  if (key === '') throw broken(`${name} names can not be blank`);
  return key;
}

function setVariable(config: ImageProcessConfig, key: string, value: string): void {
  const env = config.Env ?? [];
  const position = env.findIndex((entry) => entry.split('=', 1)[0] === key);
  config.Env = position < 0 ? [...env, `${key}=${value}`] : env.with(position, `${key}=${value}`);
}

function volumesOf(rest: string, expand: (text: string) => string): string[] {
  const written = parseJsonForm(rest) ?? splitAtSpaces(rest).map(({ text }) => text);
  const paths = written.map((path) => expand(path).trim());
  if (paths.length === 0) throw broken('VOLUME requires at least one argument');
  if (paths.includes('')) throw broken('VOLUME specified can not be an empty string');
  return paths;
}

function workingDirectory(current: string | undefined, requested: string): string {
  if (requested.startsWith('/')) return requested;
  const parts: string[] = [];
  for (const part of `${current ?? ''}/${requested}`.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function requireTrigger(rest: string): string {
  const trigger = /^\S+/.exec(rest)![0].toUpperCase();
  if (trigger === 'ONBUILD') throw broken("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
  if (trigger === 'MAINTAINER' || trigger === 'FROM') throw broken(`${trigger} isn't allowed as an ONBUILD trigger`);
  return rest;
}
