import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { attachContainer } from '../../src/engine/attach.ts';
import { AttachHub } from '../../src/engine/attach-hub.ts';
import { containerLogs } from '../../src/engine/logs.ts';
import type { AttachOptions, AttachSession, ContainerRecord, ContainerStatus } from '../../src/engine/types.ts';
import { Database } from '../../src/state/index.ts';
import { ContainerBench, type TestContainer } from '../support/container-bench.ts';

let bench: ContainerBench;
let db: Database;
let hub: AttachHub;
let record: ContainerRecord;

beforeEach(async () => {
  bench = new ContainerBench();
  db = await Database.open(join(bench.root, 'tare.db'));
  hub = new AttachHub(bench.runtime);
});
afterEach(async () => {
  db[Symbol.dispose]();
  await bench[Symbol.asyncDispose]();
});

/** A created container with its record; `start` then goes as the engine's start does. */
async function create(
  args: string[],
  config: { tty?: boolean; stdin?: boolean; stdinOnce?: boolean; unprivileged?: boolean } = {},
): Promise<TestContainer> {
  const { tty = false, stdin = true, stdinOnce = false, unprivileged = false } = config;
  const container = await bench.create(args, { terminal: tty, stdin, stdinOnce, unprivileged });
  record = {
    ...{ id: container.id, name: 'box', bundle: container.bundle, logPath: container.logPath },
    config: { tty, stdinOnce, openStdin: stdin, image: 'busybox', labels: {} },
    host: { logConfig: { type: '', config: {} } },
    state: { status: 'created', startedMs: 0 },
  } as unknown as ContainerRecord;
  await setStatus('created');
  return container;
}

async function setStatus(status: ContainerStatus): Promise<void> {
  record.state.status = status;
  await db.write((tx) =>
    tx.run(
      'INSERT OR REPLACE INTO containers (id, name, status, doc) VALUES (?, ?, ?, ?)',
      record.id,
      'box',
      status,
      JSON.stringify(record),
    ),
  );
}

async function start(container: TestContainer): Promise<void> {
  await hub.connect(container.id, container.bundle);
  await bench.start(container);
  await setStatus('running');
}

const store = { get: () => record, find: () => record };
const attach = (options: Partial<AttachOptions> = {}): Promise<AttachSession> =>
  attachContainer({ db, store, runtime: bench.runtime, hub }, 'box', {
    ...{ stdin: true, stdout: true, stderr: true, logs: false, stream: true, detachKeys: '' },
    ...options,
  });

async function read(session: AttachSession): Promise<string> {
  let text = '';
  for await (const { stream, chunk } of session.output)
    text += `${stream === 'stderr' ? '!' : ''}${Buffer.from(chunk)}`;
  await session[Symbol.asyncDispose]();
  return text;
}

const actions = (): string[] => db.all<{ action: string }>('SELECT action FROM events').map(({ action }) => action);

describe('attached before the start', () => {
  test('every session sees every byte', async () => {
    const container = await create(['sh', '-c', 'echo out; echo err >&2']);
    const sessions = [await attach(), await attach(), await attach({ stderr: false })];
    const texts = sessions.map(read);
    await start(container);
    const [first, second, third] = await Promise.all(texts);
    expect([first, second].map((text) => text!.split('\n').sort())).toEqual([
      ['', '!err', 'out'].sort(),
      ['', '!err', 'out'].sort(),
    ]);
    expect(third).toBe('out\n');
  });

  test('none is left waiting at the door when the program speaks', async () => {
    const container = await create(['sh', '-c', 'echo out']);
    const conmon = container.monitor.pid;
    const texts = [await attach(), await attach(), await attach()].map(read);
    process.kill(conmon, 'SIGSTOP');
    let areIn = false;
    const connected = hub.connect(container.id, container.bundle).then(() => {
      areIn = true;
    });
    await sleep(50);
    expect(areIn).toBe(false);
    process.kill(conmon, 'SIGCONT');
    await connected;
    await bench.start(container);
    await setStatus('running');
    expect(await Promise.all(texts)).toEqual(['out\n', 'out\n', 'out\n']);
  });

  test('the first one ends an input that nobody writes to, and misses nothing of a program that is done at once', async () => {
    const container = await create(['sh', '-c', 'cat; echo out'], { stdin: false, unprivileged: true });
    expect(container.endsInput).toBe(true);
    const text = read(await attach({ stdin: false }));
    process.kill(container.monitor.pid, 'SIGSTOP');
    await hub.connect(container.id, container.bundle, container.endsInput);
    await bench.start(container);
    process.kill(container.monitor.pid, 'SIGCONT');
    await setStatus('running');
    expect(await text).toBe('out\n');
  });

  test('an input that nobody writes to ends where nobody is attached, too', async () => {
    const container = await create(['cat'], { stdin: false, unprivileged: true });
    await hub.connect(container.id, container.bundle, container.endsInput);
    await bench.start(container);
    expect(await container.exit()).toBe(0);
  });

  test('input given meanwhile arrives', async () => {
    const container = await create(['cat'], { stdinOnce: true });
    const session = await attach();
    const written = session.write(Buffer.from('early'));
    const text = read(session);
    await start(container);
    await written;
    session.closeStdin();
    expect(await text).toBe('early');
  });

  test('a start that fails ends them', async () => {
    const container = await create(['true']);
    const session = await attach();
    hub.fail(container.id);
    expect(await read(session)).toBe('');
  });

  test('one that leaves is forgotten', async () => {
    const container = await create(['true']);
    const session = await attach();
    const text = read(session);
    await session[Symbol.asyncDispose]();
    expect(await text).toBe('');
    expect(hub.hasPending(container.id)).toBe(false);
  });

  test('a start by another process is joined too', async () => {
    const container = await create(['sh', '-c', 'sleep 0.3; echo late']);
    const text = read(await attach());
    await bench.start(container);
    await setStatus('running');
    expect(await text).toBe('late\n');
  });
});

describe('attached to a running one', () => {
  test('the log comes first when asked for', async () => {
    const container = await create(['sh', '-c', 'echo one; read x; echo two $x'], { stdinOnce: true });
    await start(container);
    await expect.poll(() => logText()).toContain('one');
    const session = await attach({ logs: true });
    const text = read(session);
    await sleep(50);
    await session.write(Buffer.from('go\n'));
    expect(await text).toBe('one\ntwo go\n');
    expect(await read(await attach({ logs: true, stream: false }))).toBe('one\ntwo go\n');
  });

  test('detach keys leave a terminal, and what only begins like them goes through', async () => {
    const container = await create(['sh', '-c', 'stty raw -echo; echo ready; cat'], { tty: true });
    const session = await attach();
    const output = session.output[Symbol.asyncIterator]();
    await start(container);
    let text = '';
    const until = async (wanted: string) => {
      while (!text.includes(wanted)) text += Buffer.from((await output.next()).value!.chunk).toString();
    };
    await until('ready');
    await session.write(Buffer.from('a\x10'));
    await session.write(Buffer.from('b'));
    await until('a\x10b');
    await session.write(Buffer.from('\x10\x11'));
    expect((await output.next()).done).toBe(true);
    await expect.poll(actions).toContain('detach');
    // Input stays open for whoever comes next.
    const next = await attach();
    await next.write(Buffer.from('c'));
    expect((await next.output[Symbol.asyncIterator]().next()).value?.chunk.toString()).toBe('c');
    await next[Symbol.asyncDispose]();
  });

  test('one without input that leaves does not end the input of another', async () => {
    const container = await create(['cat'], { stdinOnce: true });
    const reader = await attach();
    const watcher = await attach({ stdin: false });
    const watched = read(watcher);
    await start(container);
    await watcher[Symbol.asyncDispose]();
    expect(await watched).toBe('');
    await sleep(50);
    await reader.write(Buffer.from('still'));
    await sleep(20);
    reader.closeStdin();
    expect(await read(reader)).toBe('still');
  });
});

test.each(['paused', 'restarting'] as const)('%s is refused', async (status) => {
  await create(['true']);
  record.state.status = status;
  await expect(attach()).rejects.toMatchObject({ kind: 'Conflict', message: expect.stringContaining(status) });
});

async function logText(options: { follow?: boolean } = {}): Promise<string> {
  let text = '';
  const entries = containerLogs({ db, store }, 'box', { follow: false, stdout: true, stderr: true, ...options });
  for await (const { line } of entries) text += Buffer.from(line).toString();
  return text;
}

describe('logs', () => {
  test.each(['restarting', 'exited'] as const)(
    'are followed until the container has ended and is %s',
    async (status) => {
      const container = await create(['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.05; done']);
      await start(container);
      const text = logText({ follow: true });
      await container.exit();
      await setStatus(status);
      expect(await text).toBe('1\n2\n3\n');
    },
  );

  test('of one that does not run end at once, and without a driver that keeps any are refused', async () => {
    await create(['true']);
    expect(await logText({ follow: true })).toBe('');
    record.host.logConfig.type = 'none';
    await expect(logText()).rejects.toMatchObject({ kind: 'Unsupported' });
  });
});
