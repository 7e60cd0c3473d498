import { aliases, commands, groups } from './catalogue.ts';
import { type Command, globalOptions } from './command.ts';
import type { Option, Options } from './option.ts';

const width = () => Math.min(Math.max(process.stdout.columns ?? 100, 60), 100);

/** `tare --help` */
export function programHelp(): string {
  const listed = Object.entries(commands).filter(([, entry]) => !entry.hidden);
  return [
    'Usage:  tare [OPTIONS] COMMAND\n',
    'A container engine that weighs next to nothing\n',
    `Management Commands:\n${columns(Object.entries(groups).map(([name, group]) => [name, group.summary]))}`,
    `Commands:\n${columns(listed.map(([name, entry]) => [name, entry.summary]))}`,
    `Global Options:\n${optionLines(globalOptions)}`,
    "Run 'tare COMMAND --help' for more information on a command.\n",
  ].join('\n');
}

/** `tare GROUP --help` */
export function groupHelp(name: string): string {
  const group = groups[name]!;
  const listed = Object.entries(group.commands).filter(([, entry]) => !entry.hidden);
  return [
    `Usage:  tare ${name} COMMAND\n`,
    `${group.summary}\n`,
    `Commands:\n${columns(listed.map(([command, entry]) => [command, entry.summary]))}`,
    `Run 'tare ${name} COMMAND --help' for more information on a command.\n`,
  ].join('\n');
}

/** `tare COMMAND --help` */
export function commandHelp(path: string, summary: string, definition: Command): string {
  const parts = [`Usage:  tare ${path} ${definition.usage}\n`, `${summary}\n`];
  const others = samePlaces(path);
  if (others.length > 0) parts.push(`Aliases:\n  ${[path, ...others].map((other) => `tare ${other}`).join(', ')}\n`);
  const lines = optionLines(definition.options);
  if (lines) parts.push(`Options:\n${lines}`);
  return parts.join('\n');
}

/** Other paths that lead to the same command. */
function samePlaces(path: string): string[] {
  const all = new Map<string, unknown>();
  for (const [name, entry] of Object.entries(commands)) all.set(name, entry);
  for (const [group, { commands: own }] of Object.entries(groups))
    for (const [name, entry] of Object.entries(own)) all.set(`${group} ${name}`, entry);
  const entry = all.get(path);
  const same = [...all].filter(([other, its]) => its === entry && other !== path).map(([other]) => other);
  const spelled = Object.entries(aliases).filter(([, target]) => target === path || same.includes(target));
  return [...same, ...spelled.map(([alias]) => alias)];
}

function optionLines(options: Options): string {
  const rows = Object.entries(options)
    .filter(([, option]) => !option.hidden)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, option]): [string, string] => [flags(name, option), option.help + defaultNote(option)]);
  return columns(rows);
}

/** `-e, --env list` */
export function flags(name: string, option: Option): string {
  const value = valueWord(option);
  return `${option.short ? `-${option.short}, ` : '    '}--${name}${value ? ` ${value}` : ''}`;
}

/** The word that stands for an option's value, '' for a bool. */
function valueWord(option: Option): string {
  if (option.type === 'bool') return '';
  return option.value ?? option.type;
}

function defaultNote(option: Option): string {
  if (option.default === undefined || option.default === false || option.default === '') return '';
  return ` (default ${typeof option.default === 'string' ? JSON.stringify(option.default) : option.default})`;
}

/** Two columns, the second wrapped to the terminal. */
function columns(rows: readonly (readonly [string, string])[]): string {
  const first = Math.max(0, ...rows.map(([left]) => left.length)) + 3;
  const room = Math.max(width() - first - 2, 24);
  return rows
    .map(([left, right]) => {
      const lines = wrap(right, room);
      return lines.map((line, i) => `  ${(i === 0 ? left : '').padEnd(first)}${line}`.trimEnd()).join('\n');
    })
    .map((line) => `${line}\n`)
    .join('');
}

function wrap(text: string, room: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line && line.length + 1 + word.length > room) {
        lines.push(line);
        line = word;
      } else line = line ? `${line} ${word}` : word;
    }
    lines.push(line);
  }
  return lines;
}
