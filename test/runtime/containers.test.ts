import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { isProcessAlive, signalProcess } from '../../src/linux/index.ts';
import type { AttachStream } from '../../src/runtime/index.ts';
import { ContainerBench, crun, runc, type TestContainer } from '../support/container-bench.ts';

async function collect(stream: AttachStream): Promise<{ stdout: string; stderr: string }> {
  const got = { stdout: '', stderr: '' };
  for await (const { stream: name, chunk } of stream.output) got[name] += Buffer.from(chunk).toString();
  return got;
}

describe.each([crun, runc])('$name', (binary) => {
  test.each([
    { what: 'success', args: ['true'], code: 0 },
    { what: 'its own code', args: ['sh', '-c', 'exit 42'], code: 42 },
    { what: 'a signal', args: ['sh', '-c', 'kill -9 $$; sleep 9'], code: 137, init: true },
  ])('reports $what', async ({ args, code, init }) => {
    await using bench = new ContainerBench(binary);
    // The first process of a pid namespace does not obey its own signals.
    const container = await bench.run(init ? ['sh', '-c', 'sh -c "kill -9 \\$\\$"; exit $?'] : args);
    expect(await container.exit()).toBe(code);
  });

  test('everything of it is attached to before it starts', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.create(['sh', '-c', 'echo out; echo err >&2; exit 3']);
    await using stream = await bench.runtime.attach(container.bundle);
    await bench.start(container);
    expect(await collect(stream)).toEqual({ stdout: 'out\n', stderr: 'err\n' });
    expect(await container.exit()).toBe(3);
  });

  test.each([
    { program: 'nope', kind: 'CommandNotFound', words: 'exec: "nope": executable file not found in $PATH' },
    { program: '/bin/nope', kind: 'CommandNotFound', words: 'exec: "/bin/nope": stat /bin/nope: no such file' },
    { program: '/bin', kind: 'NotExecutable', words: 'exec: "/bin": ' },
    { program: '/bin/private', kind: 'NotExecutable', words: 'exec: "/bin/private": permission denied' },
    { program: '/bin/busybox/x', kind: 'NotExecutable', words: 'exec: "/bin/busybox/x": not a directory' },
  ])('$program is $kind', async ({ program, kind, words }) => {
    await using bench = new ContainerBench(binary);
    await expect(bench.create([program])).rejects.toMatchObject({ kind, message: expect.stringContaining(words) });
    const container = await bench.run(['sleep', '60']);
    const request = bench.execRequest(container, [program]);
    await expect(bench.runtime.exec(request)).rejects.toMatchObject({ kind, message: expect.stringContaining(words) });
  });

  test('kill reaches the container, and a later one is no error', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.run(['sh', '-c', 'trap "exit 7" TERM; echo ready; while :; do sleep 0.05; done']);
    await expect.poll(() => readFileSync(container.logPath, 'utf8')).toContain('ready');
    await bench.runtime.kill(container.id, binary, 15, container.container);
    expect(await container.exit()).toBe(7);
    await bench.runtime.kill(container.id, binary, 9, container.container);
    await bench.runtime.kill(container.id, binary, 9);
    await bench.runtime.delete(container.id, binary, false);
    await bench.runtime.delete(container.id, binary, false);
  });

  test('kill through the runtime', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.run(['sleep', '60']);
    await bench.runtime.kill(container.id, binary, 9);
    expect(await container.exit()).toBe(137);
  });

  test('a paused container stands still until it is resumed', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.run(['sh', '-c', 'while :; do echo tick; sleep 0.02; done']);
    await bench.runtime.pause(container.id, binary);
    const before = readFileSync(container.logPath).length;
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(readFileSync(container.logPath).length).toBe(before);
    await bench.runtime.resume(container.id, binary);
    await expect.poll(() => readFileSync(container.logPath).length).toBeGreaterThan(before);
  });

  test('update changes a limit', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.run(['sleep', '60']);
    await bench.runtime.update(container.id, binary, { pids: { limit: 123 } });
    const groups = readFileSync(`/proc/${container.container.pid}/cgroup`, 'utf8');
    const pids = /:pids:(.*)/.exec(groups)?.[1];
    const unified = /0::(.*)/.exec(groups)?.[1];
    const file = pids === undefined ? `/sys/fs/cgroup${unified}/pids.max` : `/sys/fs/cgroup/pids${pids}/pids.max`;
    expect(readFileSync(file, 'utf8').trim()).toBe('123');
  });

  test('input reaches it, and its end does too', async () => {
    await using bench = new ContainerBench(binary);
    const container = await bench.create(['cat'], { stdin: true, stdinOnce: true });
    await using stream = await bench.runtime.attach(container.bundle);
    await bench.start(container);
    const text = 'x'.repeat(200_000);
    await stream.write(Buffer.from(text));
    stream.closeStdin();
    expect((await collect(stream)).stdout).toBe(text);
    expect(await container.exit()).toBe(0);
  });

  test('a terminal has the size it is given, and one stream', async () => {
    await using bench = new ContainerBench(binary);
    // The monitor takes sizes and input from different places, in an order of its own.
    const script = 'read line; until stty size | grep "33 111"; do sleep 0.01; done 2>/dev/null; echo err >&2';
    const container = await bench.create(['sh', '-c', script], { terminal: true, stdin: true });
    await using stream = await bench.runtime.attach(container.bundle);
    await bench.start(container);
    await bench.runtime.resize(container.bundle, 33, 111);
    await stream.write(Buffer.from('go\n'));
    expect(await collect(stream)).toEqual({ stdout: 'go\r\n33 111\r\nerr\r\n', stderr: '' });
  });

  test.each([
    { what: 'its exit code', args: ['sh', '-c', 'exit 5'], code: 5, stdout: '' },
    { what: 'its output', args: ['sh', '-c', 'echo hi; cat'], code: 0, stdout: 'hi\nmore' },
  ])('an exec gives $what', async ({ args, code, stdout }) => {
    await using bench = new ContainerBench(binary);
    const container = await bench.run(['sleep', '60']);
    const request = bench.execRequest(container, args, { stdin: true });
    const { process, stream } = await bench.runtime.exec(request);
    await stream!.write(Buffer.from('more'));
    stream!.closeStdin();
    expect(await collect(stream!)).toEqual({ stdout, stderr: '' });
    expect(await bench.runtime.waitExec(request.directory, request.execId, process)).toBe(code);
    // As a process that did not start it learns it, from the file.
    expect(await bench.runtime.waitExec(request.directory, request.execId, process)).toBe(code);
  });

  test('a container and an exec have no descriptors of ours, however often the runtime has run', async () => {
    await using bench = new ContainerBench(binary);
    for (const _ of ['from the file', 'from its copy']) {
      const container = await bench.run(['sleep', '60']);
      // Of the one who looks, the fourth is the folder that it reads.
      const request = bench.execRequest(container, ['sh', '-c', 'echo /proc/1/fd/* && ls /proc/self/fd'], {});
      const { stream } = await bench.runtime.exec(request);
      const { stdout } = await collect(stream!);
      expect(stdout).toBe('/proc/1/fd/0 /proc/1/fd/1 /proc/1/fd/2\n0\n1\n2\n3\n');
    }
  });
});

test('100 MB come through intact', async () => {
  await using bench = new ContainerBench();
  // The program sends the checksum of what it sent on its standard error.
  const sender = await bench.create(
    [
      'sh',
      '-c',
      'i=0; while [ $i -lt 50 ]; do dd if=/bin/busybox bs=64k count=30 2>/dev/null; i=$((i+1)); done; ' +
        '{ i=0; while [ $i -lt 50 ]; do dd if=/bin/busybox bs=64k count=30 2>/dev/null; i=$((i+1)); done; } | md5sum >&2',
    ],
    { logPath: undefined },
  );
  await using stream = await bench.runtime.attach(sender.bundle);
  await bench.start(sender);
  const hash = createHash('md5');
  let bytes = 0;
  let told = '';
  for await (const { stream: name, chunk } of stream.output) {
    if (name === 'stderr') told += Buffer.from(chunk).toString();
    else {
      hash.update(chunk);
      bytes += chunk.length;
    }
  }
  expect(bytes).toBeGreaterThan(90_000_000);
  expect(told.slice(0, 32)).toBe(hash.digest('hex'));
});

async function alive({ container }: TestContainer): Promise<boolean> {
  return isProcessAlive(container.pid, container.startTicks);
}

test('a container outlives its monitor, and nobody knows its exit code', async () => {
  await using bench = new ContainerBench();
  const container = await bench.run(['sleep', '60']);
  signalProcess(container.monitor.pid, container.monitor.startTicks, 9);
  await expect.poll(() => isProcessAlive(container.monitor.pid, container.monitor.startTicks)).toBe(false);
  expect(await alive(container)).toBe(true);
  await expect(bench.runtime.attach(container.bundle)).rejects.toMatchObject({ kind: 'Conflict' });
  await expect(bench.runtime.resize(container.bundle, 1, 1)).rejects.toMatchObject({ kind: 'Conflict' });
  await bench.runtime.kill(container.id, crun, 9, container.container);
  await expect.poll(() => alive(container)).toBe(false);
  expect(existsSync(`${bench.exitDir}/${container.id}`)).toBe(false);
});

test('an exec whose monitor is killed ends with an unknown code', async () => {
  await using bench = new ContainerBench();
  const container = await bench.run(['sleep', '60']);
  const request = bench.execRequest(container, ['sleep', '60'], { attach: false });
  const { process } = await bench.runtime.exec(request);
  const monitor = Number(/\) . (\d+)/.exec(readFileSync(`/proc/${process.pid}/stat`, 'latin1'))![1]);
  globalThis.process.kill(monitor, 9);
  signalProcess(process.pid, process.startTicks, 9);
  await expect(bench.runtime.waitExec(request.directory, request.execId, process)).rejects.toMatchObject({
    kind: 'Unavailable',
  });
});

test('a runtime or a conmon that is not there', async () => {
  await using bench = new ContainerBench({ name: 'gone', path: '/usr/bin/gone', args: [] });
  await expect(bench.create(['true'])).rejects.toMatchObject({ message: expect.stringContaining('/usr/bin/gone') });
  await expect(bench.runtime.start('x', { name: 'gone', path: '/usr/bin/gone', args: [] })).rejects.toMatchObject({
    kind: 'Unavailable',
  });
});
