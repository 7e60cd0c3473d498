import { TareError } from '../../../errors/index.ts';
import {
  FlagError,
  parseHealthcheckInstruction,
  parseJsonForm,
  splitAtSpaces,
  splitWords,
  withSuggestion,
} from '../../../image/index.ts';
import { SourceError } from '../../source-error.ts';
import type { CommandText } from './command-text.ts';
import type { ArgInstruction, Instruction, OnbuildInstruction, Pair, ShellInstruction, Stage } from './instruction.ts';
import { parseCommandLine, parseRun } from './run.ts';
import { parseAdd, parseCopy } from './transfer.ts';

/** How the arguments of each instruction are read. */
const parsers: Readonly<Record<string, (text: CommandText) => Instruction | Stage>> = {
  ADD: parseAdd,
  ARG: parseArg,
  CMD: (text) => ({ ...text.written, kind: 'cmd', command: withoutFlags(text, parseCommandLine) }),
  COPY: parseCopy,
  ENTRYPOINT: (text) => ({ ...text.written, kind: 'entrypoint', command: withoutFlags(text, parseCommandLine) }),
  ENV: (text) => ({ ...text.written, kind: 'env', ...withoutFlags(text, parsePairs) }),
  EXPOSE: (text) => ({ ...text.written, kind: 'expose', ports: withoutFlags(text, parsePorts) }),
  FROM: parseFrom,
  HEALTHCHECK: (text) => ({ ...text.written, kind: 'healthcheck', check: parseHealthcheckInstruction(text.tail) }),
  LABEL: (text) => ({ ...text.written, kind: 'label', ...withoutFlags(text, parsePairs) }),
  MAINTAINER: (text) => ({ ...text.written, kind: 'maintainer', maintainer: withoutFlags(text, requireOne) }),
  ONBUILD: parseOnbuild,
  RUN: parseRun,
  SHELL: parseShell,
  STOPSIGNAL: (text) => ({ ...text.written, kind: 'stopsignal', signal: withoutFlags(text, requireOne) }),
  USER: (text) => ({ ...text.written, kind: 'user', user: withoutFlags(text, requireOne) }),
  VOLUME: (text) => ({ ...text.written, kind: 'volume', paths: withoutFlags(text, parsePaths) }),
  WORKDIR: (text) => ({ ...text.written, kind: 'workdir', path: withoutFlags(text, requireOne) }),
};

/** @throws {SourceError} InvalidArgument, in BuildKit's words */
export function parseInstruction(text: CommandText): Instruction | Stage {
  const parse = Object.hasOwn(parsers, text.name) ? parsers[text.name]! : undefined;
  if (parse === undefined) {
    const isLower = text.keyword === text.keyword.toLowerCase();
    const names = Object.keys(parsers).map((name) => (isLower ? name.toLowerCase() : name));
    const word = isLower ? text.keyword : text.name;
    throw text.line.fail(withSuggestion(`unknown instruction: ${text.keyword}`, word, names), 0);
  }
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SourceError || !(error instanceof TareError)) throw error;
    if (error instanceof FlagError) throw text.failAtFlag(error.message, error.offset);
    throw text.line.fail(error.message);
  }
}

function withoutFlags<T>(text: CommandText, parse: (text: CommandText) => T): T {
  text.flags();
  return parse(text);
}

function requireOne(text: CommandText): string {
  if (text.rest === '') throw text.line.fail(`${text.name} requires exactly one argument`);
  return text.rest;
}

function atLeastOne(text: CommandText): SourceError {
  return text.line.fail(`${text.name} requires at least one argument`);
}

/** `KEY=VALUE KEY=VALUE`, or the old form `KEY the whole rest`. */
function parsePairs(text: CommandText): { pairs: Pair[]; isLegacy: boolean } {
  const words = splitWords(text.rest, text.escape);
  if (words.length === 0) throw atLeastOne(text);
  if (!words[0]!.text.includes('=')) {
    const [, key, value] = /^([^\t\v\f\r ]+)[\t\v\f\r ]+(.+)$/s.exec(text.rest) ?? [];
    if (key === undefined || value === undefined) throw text.failAt(`${text.name} must have two arguments`, 0);
    return { pairs: [{ key, value }], isLegacy: true };
  }
  const pairs = words.map(({ text: word, offset }) => {
    const equals = word.indexOf('=');
    if (equals < 0) {
      const message = `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`;
      throw text.failAt(message, offset, word.length);
    }
    if (equals === 0) throw text.failAt(`${text.name} names can not be blank`, offset);
    return { key: word.slice(0, equals), value: word.slice(equals + 1) };
  });
  return { pairs, isLegacy: false };
}

function parseArg(text: CommandText): ArgInstruction {
  text.flags();
  const words = splitWords(text.rest, text.escape);
  if (words.length === 0) throw atLeastOne(text);
  const args = words.map(({ text: word, offset }) => {
    const equals = word.indexOf('=');
    if (equals === 0) throw text.failAt('ARG names can not be blank', offset);
    const key = equals < 0 ? word : word.slice(0, equals);
    return {
      key,
      value: equals < 0 ? undefined : word.slice(equals + 1),
      description: descriptionOf(key, text.line.comments),
    };
  });
  return { ...text.written, kind: 'arg', args };
}

function parsePorts(text: CommandText): string[] {
  const words = splitAtSpaces(text.rest).map((word) => word.text);
  if (words.length === 0) throw atLeastOne(text);
  return words.sort();
}

function parsePaths(text: CommandText): string[] {
  const { words } = text.words();
  if (words.length === 0) throw atLeastOne(text);
  return words.map(({ text: word, offset }) => {
    const path = word.trim();
    if (path === '') throw text.failAt('VOLUME specified can not be an empty string', offset);
    return path;
  });
}

function parseShell(text: CommandText): ShellInstruction {
  text.flags();
  const shell = parseJsonForm(text.rest);
  if (text.rest === '' || shell?.length === 0) throw atLeastOne(text);
  if (shell === undefined) throw text.failAt('SHELL requires the arguments to be in JSON form', 0, text.rest.length);
  return { ...text.written, kind: 'shell', shell };
}

function parseOnbuild(text: CommandText): OnbuildInstruction {
  if (text.rest === '') throw atLeastOne(text);
  text.flags();
  const trigger = /^\S+/.exec(text.rest)![0].toUpperCase();
  if (trigger === 'ONBUILD') throw text.failAt("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed", 0);
  if (trigger === 'MAINTAINER' || trigger === 'FROM') {
    throw text.failAt(`${trigger} isn't allowed as an ONBUILD trigger`, 0);
  }
  if (!Object.hasOwn(parsers, trigger)) {
    throw text.failAt(withSuggestion(`unknown instruction: ${trigger}`, trigger, Object.keys(parsers)), 0);
  }
  const bodies = text.hereDocuments.map(({ content, name }) => `\n${content}${name}`);
  return { ...text.written, kind: 'onbuild', expression: text.rest + bodies.join('') };
}

const stageName = /^[a-z][a-z0-9-_.]*$/;

function parseFrom(text: CommandText): Stage {
  const [base, as, name, ...more] = splitAtSpaces(text.rest);
  const hasName = name !== undefined && more.length === 0 && as!.text.toLowerCase() === 'as';
  if (base === undefined || (as !== undefined && !hasName)) {
    throw text.line.fail('FROM requires either one or three arguments');
  }
  if (name !== undefined && !stageName.test(name.text.toLowerCase())) {
    const message = `invalid name for build stage: ${JSON.stringify(name.text)}, name can't start with a number or contain symbols`;
    throw text.failAt(message, name.offset);
  }
  const flags = text.flags({ platform: 'text' });
  const lower = name?.text.toLowerCase();
  return {
    ...text.written,
    kind: 'from',
    name: lower,
    writtenName: name?.text,
    asKeyword: as?.text,
    base: base.text,
    platform: flags.text('platform') || undefined,
    description: lower === undefined ? undefined : descriptionOf(lower, text.line.comments),
    instructions: [],
  };
}

function descriptionOf(name: string, comments: readonly string[]): string | undefined {
  return comments.find((comment) => comment.startsWith(`${name} `))?.slice(name.length + 1);
}
