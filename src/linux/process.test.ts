import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isProcessAlive, readProcessStat, signalProcess } from './process.ts';
import { reapProcess, spawnProcess } from './spawn.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-process-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const shell = (script: string, descriptors?: Map<number, number>): number =>
  spawnProcess({ path: '/bin/sh', args: ['-c', script], env: ['PATH=/bin:/usr/bin', 'X=y'], descriptors });

async function exitOf(pid: number): Promise<number | 'gone'> {
  for (;;) {
    const status = reapProcess(pid);
    if (status !== 'running') return status;
    await sleep(2);
  }
}

/** Runs a script with its standard output in a file. */
async function outputOf(script: string, more: [number, number][] = []): Promise<string> {
  const path = join(folder, 'out');
  const fd = openSync(path, 'w');
  const pid = shell(script, new Map([[1, fd], ...more]));
  closeSync(fd);
  await exitOf(pid);
  return readFileSync(path, 'utf8');
}

describe('a spawned process', () => {
  test('ends with its code, or 128 and the signal, told once', async () => {
    const pid = shell('exit 3');
    expect(await exitOf(pid)).toBe(3);
    expect(reapProcess(pid)).toBe('gone');
    expect(await exitOf(shell('kill -9 $$'))).toBe(137);
  });

  test('has its own session, the root as folder and the environment it was given', async () => {
    const [session, pid, cwd, x] = (await outputOf('cut -d" " -f6 /proc/$$/stat; echo $$; pwd; echo $X')).split('\n');
    expect({ session, cwd, x }).toEqual({ session: pid, cwd: '/', x: 'y' });
  });

  test('holds no descriptor but those named', async () => {
    const open = openSync('/dev/zero', 'r');
    const listed = await outputOf('for n in 0 1 2 3 4 5 6 7 8; do readlink /proc/$$/fd/$n || echo none; done', [
      [5, open],
    ]);
    closeSync(open);
    const [stdin, stdout, stderr, ...others] = listed.trim().split('\n');
    expect([stdin, stdout, stderr]).toEqual(['/dev/null', join(folder, 'out'), '/dev/null']);
    expect(others).toEqual(['none', 'none', '/dev/zero', 'none', 'none', 'none']);
  });

  test('gets descriptors whose numbers are crossed', async () => {
    const [a, b] = [openSync('/dev/zero', 'r'), openSync('/dev/full', 'r')];
    const listed = await outputOf(`readlink /proc/$$/fd/${a}; readlink /proc/$$/fd/${b}`, [
      [a, b],
      [b, a],
    ]);
    closeSync(a);
    closeSync(b);
    expect(listed).toBe('/dev/full\n/dev/zero\n');
  });

  test('that can not be executed is an error', () => {
    const spawn = (path: string) => () => spawnProcess({ path, args: [], env: [] });
    expect(spawn('/no/such/program')).toThrow(expect.objectContaining({ code: 'ENOENT' }));
    expect(spawn('/etc/passwd')).toThrow(expect.objectContaining({ code: 'EACCES' }));
  });
});

describe('a signal', () => {
  test('reaches the process it is meant for, and no later one with its pid', async () => {
    const pid = shell('sleep 60');
    const { startTicks, parentPid } = readProcessStat(pid)!;
    expect(parentPid).toBe(process.pid);
    expect(signalProcess(pid, startTicks + 1, 9)).toBe(false);
    expect(isProcessAlive(pid, startTicks + 1)).toBe(false);
    expect(isProcessAlive(pid, startTicks)).toBe(true);
    expect(signalProcess(pid, startTicks, 9)).toBe(true);
    expect(await exitOf(pid)).toBe(137);
    expect(signalProcess(pid, startTicks, 9)).toBe(false);
  });

  test('does not reach a zombie', async () => {
    const pid = shell('exit 0');
    await expect.poll(() => readProcessStat(pid)?.state).toBe('Z');
    const { startTicks } = readProcessStat(pid)!;
    expect(isProcessAlive(pid, startTicks)).toBe(false);
    expect(signalProcess(pid, startTicks, 9)).toBe(false);
    await exitOf(pid);
  });
});

test('a command name with blanks and parentheses does not confuse its stat', async () => {
  const script = `printf ') R 1 (' > /proc/$$/comm; exec 3<&1; read x < ${join(folder, 'fifo')}`;
  const pid = shell(`mkfifo ${join(folder, 'fifo')}; ${script}`);
  await expect.poll(() => readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe(') R 1 (\n');
  expect(readProcessStat(pid)).toMatchObject({ parentPid: process.pid });
  signalProcess(pid, readProcessStat(pid)!.startTicks, 9);
  await exitOf(pid);
});
