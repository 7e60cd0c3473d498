import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { aliases, commands, type Entry, groups } from './catalogue.ts';
import type { Command } from './command.ts';
import { completionScript } from './completion.ts';
import { commandHelp, programHelp } from './help.ts';
import { manualPage } from './manual.ts';
import { nearest } from './program.ts';
import { VERSION } from './version.ts';

const all: [string, Entry][] = [
  ...Object.entries(commands),
  ...Object.entries(groups).flatMap(([group, { commands: own }]) =>
    Object.entries(own).map(([name, entry]): [string, Entry] => [`${group} ${name}`, entry]),
  ),
];

test.each(all)('%s: its options are sound and its help shows them', async (path, entry) => {
  const definition: Command = (await entry.load()).default;
  const shorts = Object.values(definition.options).flatMap(({ short }) => (short ? [short] : []));
  expect(new Set(shorts).size).toBe(shorts.length);
  const help = commandHelp(path, entry.summary, definition);
  for (const [name, option] of Object.entries(definition.options)) {
    expect(name).toMatch(/^[a-z0-9][a-z0-9-]+$/);
    expect(option.help).not.toBe('');
    expect(new RegExp(`--${name}(?![a-z-])`).test(help), name).toBe(!option.hidden);
  }
});

test('every alias leads to a command', () => {
  const paths = all.map(([path]) => path);
  for (const target of Object.values(aliases)) expect(paths).toContain(target);
});

test.each(['bash', 'zsh', 'fish'] as const)('the completion of %s names every command', async (shell) => {
  const script = await completionScript(shell);
  for (const [path, entry] of all) if (!entry.hidden) expect(script).toContain(path.split(' ').at(-1));
  expect(script).not.toContain('keeper');
});

test('bash understands its completion, and completes', async () => {
  const script = await completionScript('bash');
  const complete = (line: string[]) =>
    execFileSync(
      'bash',
      [
        '-c',
        `${script}\nCOMP_WORDS=(${line.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=$((\${#COMP_WORDS[@]}-1)); _tare; echo "\${COMPREPLY[@]}"`,
      ],
      {
        encoding: 'utf8',
      },
    ).trim();
  expect(complete(['tare', 'ima'])).toBe('image images');
  expect(complete(['tare', '--data-root', 'x', 'container', 'ren'])).toBe('rename');
  expect(complete(['tare', 'run', '--read'])).toBe('--read-only');
  expect(complete(['tare', 'run', '--pull', 'm'])).toBe('missing');
});

test('the manual describes every command', async () => {
  const page = await manualPage();
  for (const [path, entry] of all) if (!entry.hidden && !path.includes(' ')) expect(page).toContain(`.SS tare ${path}`);
  expect(page).toMatch(/^\.TH TARE 1 /);
});

test('the program’s help lists what is not hidden', () => {
  expect(programHelp()).toMatch(/\n {2}run +Create and run/);
  expect(programHelp()).not.toContain('keeper');
});

test('a slip is recognised', () => {
  const known = Object.keys(commands);
  expect(nearest('rnu', known)).toBe('run');
  expect(nearest('imagse', known)).toBe('images');
  expect(nearest('frobnicate', known)).toBeUndefined();
});

test('the version is the package’s', () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')) as {
    version: string;
  };
  expect(VERSION).toBe(version);
});
