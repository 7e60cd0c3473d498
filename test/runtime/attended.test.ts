import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cgroupExists, listPids, removeCgroup } from '../../src/linux/index.ts';
import {
  applyHostDefaults,
  buildSpec,
  openRuntime,
  type RuntimeBinary,
  readHostFacts,
} from '../../src/runtime/index.ts';
import { eventually } from '../support/execute.ts';
import { containerConfig, hostConfig, specInput } from '../support/settings.ts';

const facts = readHostFacts();
const root = mkdtempSync(join(tmpdir(), 'tare-attended-'));
const rootfs = join(root, 'rootfs');
const cgroupParent = `/tare-attended-${randomBytes(4).toString('hex')}`;
const runtime = openRuntime({ execRoot: join(root, 'run') });

beforeAll(() => {
  for (const folder of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp'])
    mkdirSync(join(rootfs, folder), { recursive: true });
  copyFileSync('/bin/busybox', join(rootfs, 'bin/busybox'));
  for (const name of ['sh', 'cat', 'sleep', 'stty', 'head', 'yes', 'echo'])
    symlinkSync('busybox', join(rootfs, 'bin', name));
});

afterAll(() => {
  runtime[Symbol.dispose]();
  removeCgroup(cgroupParent);
  rmSync(root, { recursive: true });
});

describe.each<RuntimeBinary>([
  { name: 'crun', path: '/usr/bin/crun', args: ['--cgroup-manager=cgroupfs'] },
  { name: 'runc', path: '/usr/sbin/runc', args: [] },
])('attended by $name', (binary) => {
  async function run(args: string[], how: { terminal?: boolean; stdin?: boolean } = {}) {
    const id = randomBytes(8).toString('hex');
    const directory = join(root, id);
    mkdirSync(directory, { recursive: true });
    const { terminal = false, stdin = false } = how;
    const spec = buildSpec({
      ...specInput({ id, rootfs, facts, cgroupsPath: `${cgroupParent}/${id}`, generatedFiles: {} }),
      config: containerConfig({ cmd: args, tty: terminal, env: ['PATH=/bin'] }),
      host: applyHostDefaults(hostConfig({ networkMode: 'none' }), facts),
      namespaces: { network: 'new', pid: 'new', ipc: 'new', uts: 'new', cgroup: 'host', user: 'host' },
    });
    writeFileSync(join(directory, 'config.json'), JSON.stringify(spec));
    const attended = await runtime.run({ id, runtime: binary, directory, terminal, stdin, program: args[0]! });
    return { id, directory, attended, spec };
  }

  test('output, errors and exit code', async () => {
    const { attended, id } = await run(['/bin/sh', '-c', 'echo out; echo err >&2; exit 3']);
    const [out, err] = await Promise.all([text(attended.stdout), text(attended.stderr!)]);
    expect([out, err, await attended.ended]).toEqual(['out\n', 'err\n', 3]);
    expect(cgroupExists(`${cgroupParent}/${id}`)).toBe(false);
  });

  test('without an input it has one that has ended', async () => {
    const { attended } = await run(['/bin/sh', '-c', 'cat; echo over']);
    attended.stderr!.resume();
    expect(await text(attended.stdout)).toBe('over\n');
    expect(await attended.ended).toBe(0);
  });

  test('input is given on', async () => {
    const { attended } = await run(['/bin/cat'], { stdin: true });
    attended.stderr!.resume();
    attended.stdin!.end('hello');
    expect(await text(attended.stdout)).toBe('hello');
    expect(await attended.ended).toBe(0);
  });

  test('a program that is not there is told apart', async () => {
    const { attended } = await run(['/bin/nothing']);
    attended.stdout.resume();
    attended.stderr!.resume();
    await expect(attended.ended).rejects.toMatchObject({ kind: 'CommandNotFound' });
  });

  test('kill takes every process, and leaves no cgroup', async () => {
    const { attended, id } = await run(['/bin/sh', '-c', 'sleep 1000 & sleep 1000 & echo up; wait']);
    attended.stderr!.resume();
    await new Promise((resolve) => attended.stdout.once('data', resolve));
    await eventually('three processes run', () => listPids(`${cgroupParent}/${id}`).length === 3);
    await attended.kill();
    expect(await attended.ended).toBe(137);
    expect(cgroupExists(`${cgroupParent}/${id}`)).toBe(false);
  });

  test('killed at once, it ends', async () => {
    const { attended } = await run(['/bin/sleep', '1000']);
    attended.stdout.resume();
    attended.stderr!.resume();
    await attended.kill();
    expect(await attended.ended).not.toBe(0);
  });

  test('who does not read holds the program up', async () => {
    const { attended } = await run(['/bin/sh', '-c', 'yes | head -c 4000000; echo done >&2']);
    let said = '';
    attended.stderr!.on('data', (chunk) => {
      said += chunk;
    });
    await eventually('it writes', () => attended.stdout.readableLength > 0 || attended.stdout.readable);
    expect(said).toBe('');
    expect((await text(attended.stdout)).length).toBe(4_000_000);
    expect(await attended.ended).toBe(0);
  });

  test('a terminal of its own', async () => {
    if (binary.name !== 'crun') {
      await expect(run(['/bin/true'], { terminal: true })).rejects.toMatchObject({ kind: 'Unsupported' });
      return;
    }
    const { attended } = await run(['/bin/sh', '-c', 'read x; stty size; echo "got $x"'], { terminal: true });
    attended.resize(33, 44);
    attended.stdin!.write('word\n');
    expect(await text(attended.stdout)).toBe('word\r\n33 44\r\ngot word\r\n');
    expect(await attended.ended).toBe(0);
  });

  test('a further process enters, with streams of its own', async () => {
    const { attended, id, directory, spec } = await run(['/bin/sh', '-c', 'echo up; sleep 1000']);
    attended.stderr!.resume();
    await attended.identity();
    const folder = join(directory, 'one');
    mkdirSync(folder);
    const process = { ...spec.process, args: ['/bin/sh', '-c', 'cat; exit 4'] };
    const common = { containerId: id, runtime: binary, directory: folder, terminal: false, stdin: true };
    const entered = await runtime.enter({ ...common, process });
    entered.stderr!.resume();
    entered.stdin!.end('inside');
    expect([await text(entered.stdout), await entered.ended]).toEqual(['inside', 4]);
    await attended.kill();
    expect(await attended.ended).toBe(137);
  });

  test('what a dead process of ours left running is ended by its id', async () => {
    const { attended, id } = await run(['/bin/sh', '-c', 'echo up; sleep 1000']);
    attended.stderr!.resume();
    await new Promise((resolve) => attended.stdout.once('data', resolve));
    const { pid } = (await attended.identity())!;
    const monitor = execFileSync('ps', ['-o', 'ppid=', '-p', String(pid)], { encoding: 'utf8' }).trim();
    process.kill(Number(monitor), 'SIGKILL');
    await attended.ended.catch(() => undefined);
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    await runtime.delete(id, binary, true);
    await eventually('nothing of it is left', () => listPids(`${cgroupParent}/${id}`).length === 0);
    removeCgroup(`${cgroupParent}/${id}`);
  });
});

test('who loses a race with the runtime that cleans up too asks again', async () => {
  const directory = join(root, 'racing');
  mkdirSync(directory);
  const program = join(directory, 'runtime');
  const asked = join(directory, 'asked');
  // As Debian's crun fails when the state goes away beneath it.
  const lost = `echo 'cannot rm state directory \`x\`: No such file or directory' >&2; exit 1`;
  writeFileSync(program, `#!/bin/sh\n[ -e ${asked} ] || { touch ${asked}; ${lost}; }\nexec /usr/bin/crun "$@"\n`, {
    mode: 0o755,
  });
  const racing: RuntimeBinary = { name: 'crun', path: program, args: [] };
  await runtime.delete('nobody', racing, true);
  expect(existsSync(asked)).toBe(true);
  rmSync(asked);
  await expect(runtime.delete('nobody', racing, false)).rejects.toThrow('cannot rm state directory');
});
