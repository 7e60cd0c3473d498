import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CallerGuard } from '../../src/engine/caller-policy.ts';
import { createExecService, type Execs } from '../../src/engine/exec.ts';
import type { AttachSession, ContainerRecord, ExecConfig } from '../../src/engine/types.ts';
import { isProcessAlive, signalProcess } from '../../src/linux/index.ts';
import { readHostFacts } from '../../src/runtime/index.ts';
import { Database } from '../../src/state/index.ts';
import { ContainerBench, crun, type TestContainer } from '../support/container-bench.ts';

const facts = readHostFacts();
let bench: ContainerBench;
let db: Database;
let container: TestContainer;
let execs: Execs;
const records = new Map<string, ContainerRecord>();

/** As a process of ours opens it. */
const open = (): Execs =>
  createExecService({
    db,
    runtime: bench.runtime,
    execRoot: bench.root,
    facts,
    store: { get: (id) => records.get(id)!, find: (id) => records.get(id) },
    runtimeFor: () => crun,
    guard: new CallerGuard({
      config: {},
      facts,
      store: { get: (id) => records.get(id)! },
      volumes: { find: () => undefined },
    }),
  });

beforeEach(async () => {
  bench = new ContainerBench();
  db = await Database.open(join(bench.root, 'tare.db'));
  container = await bench.run(['sleep', '600']);
  records.clear();
  records.set(container.id, {
    id: container.id,
    name: 'box',
    bundle: container.bundle,
    config: { image: 'busybox', labels: { a: 'b' }, tty: false },
    host: { runtime: '', groupAdd: [] as string[] },
    state: { status: 'running', pid: container.container.pid, pidStartTicks: container.container.startTicks },
  } as unknown as ContainerRecord);
  execs = open();
});
afterEach(async () => {
  db[Symbol.dispose]();
  await bench[Symbol.asyncDispose]();
});

const config = (command: string[], more: Partial<ExecConfig> = {}): ExecConfig => ({
  tty: false,
  attachStdin: false,
  attachStdout: true,
  attachStderr: true,
  detachKeys: '',
  env: [],
  workingDir: '',
  user: '',
  privileged: false,
  ...more,
  command,
});

async function read(session: AttachSession | undefined): Promise<string> {
  let text = '';
  for await (const { stream, chunk } of session!.output) text += `${stream}: ${Buffer.from(chunk)}`;
  await session![Symbol.asyncDispose]();
  return text;
}

const run = async (command: string[], more: Partial<ExecConfig> = {}): Promise<{ id: string; text: string }> => {
  const id = await execs.create(container.id, config(command, more));
  return { id, text: await read(await execs.start(id, { detach: false })) };
};

const events = (): string[] =>
  db.all<{ action: string; attributes: string }>('SELECT action, attributes FROM events ORDER BY id').map((row) => {
    const { execID: _id, name: _name, image: _image, a: _label, ...rest } = JSON.parse(row.attributes);
    return [row.action, ...Object.entries(rest).map(([key, value]) => `${key}=${value}`)].join(' ');
  });

describe('an attached exec', () => {
  test('has its output, and its exit code as soon as the output ends', async () => {
    for (const code of [0, 3, 137, 0, 1, 2, 3, 4, 5, 6]) {
      const { id, text } = await run(['sh', '-c', `echo hi; exit ${code}`]);
      expect(text).toBe('stdout: hi\n');
      expect(await execs.inspect(id)).toMatchObject({ running: false, exitCode: code });
      expect(existsSync(join(bench.root, 'execs', id))).toBe(false);
    }
  });

  test('is told about as docker does', async () => {
    await run(['sh', '-c', 'exit 4']);
    expect(events()).toEqual(['exec_create: sh -c exit 4', 'exec_start: sh -c exit 4', 'exec_die exitCode=4']);
  });

  test('gets environment, folder and user', async () => {
    expect((await run(['sh', '-c', 'echo $X $PWD'], { env: ['X=y'], workingDir: '/proc' })).text).toBe(
      'stdout: y /proc\n',
    );
    expect((await run(['id', '-u'], { user: '12:34' })).text).toBe('stdout: 12\n');
    await expect(run(['true'], { user: 'nobody-here' })).rejects.toThrow(/unable to find user nobody-here/);
  });

  test('takes input to its end', async () => {
    const id = await execs.create(container.id, config(['cat'], { attachStdin: true }));
    const session = await execs.start(id, { detach: false });
    await session!.write(Buffer.from('abc'));
    session!.closeStdin();
    expect(await read(session)).toBe('stdout: abc');
  });

  test('on a terminal: its size, and the detach keys', async () => {
    const terminal = { tty: true, attachStdin: true, detachKeys: 'ctrl-x,x' };
    // crun sets the size while the program begins; before, stty says nothing, and that all is well.
    const script = 'until size=$(stty size 2>/dev/null); [ "$size" ]; do :; done; echo "$size"; exec cat';
    const id = await execs.create(container.id, config(['sh', '-c', script], terminal));
    const session = await execs.start(id, { detach: false, consoleSize: [31, 77] });
    const output = session!.output[Symbol.asyncIterator]();
    expect(Buffer.from((await output.next()).value!.chunk).toString()).toBe('31 77\r\n');
    await execs.resize(id, 20, 40);
    await session!.write(Buffer.from([24, 120]));
    expect((await output.next()).done).toBe(true);
    const { running, pid, pidStartTicks } = await execs.inspect(id);
    expect(running && isProcessAlive(pid, pidStartTicks)).toBe(true);
    await expect.poll(events).toContain('exec_detach');
    signalProcess(pid, pidStartTicks, 9);
    await expect.poll(async () => (await execs.inspect(id)).exitCode).toBe(137);
  });

  test.each([
    {
      program: 'nope',
      code: 127,
      words:
        'OCI runtime exec failed: exec failed: unable to start container process: exec: "nope": executable file not found in $PATH',
    },
    { program: '/bin/private', code: 126, words: 'exec: "/bin/private": permission denied' },
  ])('of $program ends with $code', async ({ program, code, words }) => {
    const id = await execs.create(container.id, config([program]));
    await expect(execs.start(id, { detach: false })).rejects.toThrow(words);
    expect(await execs.inspect(id)).toMatchObject({ running: false, exitCode: code });
    expect(existsSync(join(bench.root, 'execs', id))).toBe(false);
  });
});

test('a detached exec is seen running, then ended', async () => {
  const id = await execs.create(container.id, config(['sh', '-c', 'sleep 0.3; exit 9']));
  expect(await execs.start(id, { detach: true })).toBeUndefined();
  expect(await execs.inspect(id)).toMatchObject({ running: true, exitCode: null });
  await expect.poll(async () => (await execs.inspect(id)).exitCode).toBe(9);
});

describe('refused:', () => {
  test.each([
    { status: 'exited', words: /is not running/ },
    { status: 'paused', words: /is paused, unpause the container before exec/ },
    { status: 'restarting', words: /is restarting/ },
  ])('$status', async ({ status, words }) => {
    records.get(container.id)!.state.status = status as 'exited';
    await expect(execs.create(container.id, config(['true']))).rejects.toMatchObject({
      kind: 'Conflict',
      message: expect.stringMatching(words),
    });
  });

  test('a second start, no command, no such exec', async () => {
    const { id } = await run(['true']);
    await expect(execs.start(id, { detach: false })).rejects.toMatchObject({ kind: 'Conflict' });
    await expect(execs.create(container.id, config([]))).rejects.toMatchObject({ kind: 'InvalidArgument' });
    await expect(execs.create(container.id, config(['sh'], { detachKeys: 'long' }))).rejects.toMatchObject({
      kind: 'InvalidArgument',
    });
    await expect(execs.inspect('none')).rejects.toThrow('No such exec instance: none');
  });
});

describe('never lost:', () => {
  test('an exec whose starter died is learnt of by the next process', async () => {
    const id = await execs.create(container.id, config(['sh', '-c', 'sleep 0.2; exit 6']));
    await execs.start(id, { detach: true });
    // Another process knows only what is on disk, here before and after the end.
    const other = open();
    await other.reconcileExecs();
    await expect.poll(async () => (await other.inspect(id)).exitCode).toBe(6);
  });

  test('folders that nothing owns go, and records that nothing runs for end', async () => {
    const id = await execs.create(container.id, config(['sleep', '600']));
    await execs.start(id, { detach: true });
    const claimed = await execs.create(container.id, config(['true']));
    await db.write((tx) => {
      const { doc } = tx.get<{ doc: string }>('SELECT doc FROM execs WHERE id = ?', claimed)!;
      tx.run('UPDATE execs SET doc = ? WHERE id = ?', JSON.stringify({ ...JSON.parse(doc), startedMs: 1 }), claimed);
      tx.run('DELETE FROM execs WHERE id = ?', id);
    });
    const other = open();
    await other.reconcileExecs();
    expect(readdirSync(join(bench.root, 'execs'))).toEqual([]);
    expect(await other.inspect(claimed)).toMatchObject({ running: false, exitCode: 255 });
  });

  test('when the container ends, so do its execs; when it goes, so do their records', async () => {
    const id = await execs.create(container.id, config(['sleep', '600']));
    const session = await execs.start(id, { detach: false });
    signalProcess(container.container.pid, container.container.startTicks, 9);
    await container.exit();
    await execs.forgetExecs(container.id);
    expect(await read(session)).toBe('');
    expect(await execs.inspect(id)).toMatchObject({ running: false, exitCode: 137 });
    expect(readdirSync(join(bench.root, 'execs'))).toEqual([]);
    records.get(container.id)!.state.status = 'removing';
    await execs.forgetExecs(container.id);
    expect(execs.ofContainer(container.id)).toEqual([]);
    await sleep(1);
  });
});

test('closing the engine leaves a running exec as it is', async () => {
  const id = await execs.create(container.id, config(['sleep', '600']));
  await execs.start(id, { detach: true });
  bench.runtime[Symbol.dispose]();
  const { pid, pidStartTicks, running, exitCode } = await execs.inspect(id);
  expect({ running, exitCode, alive: isProcessAlive(pid, pidStartTicks) }).toEqual({
    ...{ running: true, exitCode: null, alive: true },
  });
});
