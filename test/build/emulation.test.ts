import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, onTestFinished, test } from 'vitest';
import { project } from '../support/built.ts';

/** What programs for s390x begin with, and which bits of that count. */
const magic = '7f454c4602020100000000000000000000020016';
const mask = 'ffffffffffffff00fffffffffffffffffffeffff';
const escaped = (hex: string) => hex.replaceAll(/../g, (byte) => `\\x${byte}`);
const program = magic.padEnd(400, '0');

interface Told {
  outcome: string;
  output: string;
  platforms: string[];
}

/**
 * Runs a step in a user namespace, which has emulators of its own: nobody else sees them, and they end with it.
 *
 * @param flags of the emulator, which only says what it is asked to run; undefined: there is none
 */
async function stepFor(architecture: string, flags: string | undefined): Promise<Told> {
  const folder = mkdtempSync(join(tmpdir(), 'tare-emulator-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  copyFileSync('/bin/busybox', join(folder, 'echo'));
  const entry = `:of the test:M::${escaped(magic)}:${escaped(mask)}:${folder}/echo:${flags}`;
  writeFileSync(join(folder, 'entry'), entry);
  const binfmt = '/proc/sys/fs/binfmt_misc';
  const steps = [
    'echo ready; read go',
    `mount -t binfmt_misc none ${binfmt}`,
    ...(flags === undefined ? [] : [`cat ${folder}/entry > ${binfmt}/register`]),
    `exec ${process.execPath} ${project}/test/build/emulated-step.ts ${architecture} ${program}`,
  ];
  const child = spawn('unshare', ['--user', '--mount', 'sh', '-ec', steps.join('\n')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'readable');
  for (const map of ['uid_map', 'gid_map']) writeFileSync(`/proc/${child.pid}/${map}`, '0 0 65536');
  child.stdin.end('go\n');
  const said = await text(child.stdout);
  return JSON.parse(said.replace(/^ready\n/, ''));
}

test.each([
  ['that the kernel has open', 'F'],
  ['that the step must find', ''],
])('a step of another machine runs with an emulator %s', { timeout: 60_000 }, async (_, flags) => {
  const { outcome, output, platforms } = await stepFor('s390x', flags);
  expect(outcome).toBe('done');
  expect(output).toBe('/program of another machine\n');
  expect(platforms).toContain('s390x');
});

test('without one it is refused', { timeout: 60_000 }, async () => {
  const { outcome, platforms } = await stepFor('s390x', undefined);
  expect(outcome).toMatch(/steps for linux\/s390x cannot run on this host .*: install an emulator/);
  expect(platforms).not.toContain('s390x');
});

test('a program that is not what its image says is told apart from one that fails', { timeout: 60_000 }, async () => {
  const { outcome } = await stepFor(process.arch === 'x64' ? 'amd64' : process.arch, undefined);
  expect(outcome).toMatch(/exit code: 1: \/program is no program for linux\/\w+: name the image's own platform/);
});
