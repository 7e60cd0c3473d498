/** dockerode, unmodified, against the engine of DOCKER_HOST: what is streamed. */
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { type EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { PassThrough, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import Docker from 'dockerode';
import { busybox } from '../support/image.ts';

const docker = new Docker();

/** A hijacked or followed stream, told apart. */
export async function demultiplexed(stream: NodeJS.ReadableStream): Promise<{ out: string; err: string }> {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.once('end', () => {
    out.end();
    err.end();
  });
  const [told, complained] = await Promise.all([text(out), text(err)]);
  return { out: told, err: complained };
}

/** Reads until the text is there; the stream stays open. */
async function until(stream: NodeJS.ReadableStream, wanted: RegExp): Promise<string> {
  let seen = '';
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const look = (chunk: Buffer): void => {
    seen += chunk.toString();
    if (wanted.test(seen)) resolve(seen);
  };
  const ended = (): void => reject(new Error(`it ended before ${wanted}: ${seen}`));
  stream.on('data', look);
  stream.once('end', ended);
  const found = await promise;
  stream.off('data', look);
  stream.off('end', ended);
  return found;
}

/** The end of a run's output, which may come after the end of its container is told. */
const outputEnd = async (run: EventEmitter): Promise<void> => {
  const [stream] = (await once(run, 'stream')) as [Readable];
  await once(stream, 'end');
};

const idle = async (name: string, more: Docker.ContainerCreateOptions = {}): Promise<Docker.Container> => {
  const container = await docker.createContainer({ name, Image: busybox, Cmd: ['sleep', '1000'], ...more });
  await container.start();
  return container;
};

export const cases: Record<string, () => Promise<void>> = {
  'docker.run: output to streams, exit code, removal, and its events': async () => {
    const out = new PassThrough();
    const err = new PassThrough();
    const command = ['sh', '-c', 'echo told; echo complained >&2; exit 7'];
    const run = docker.run(busybox, command, [out, err], { Tty: false }, () => {});
    const output = outputEnd(run);
    const created = once(run, 'container') as Promise<[Docker.Container]>;
    const [result] = (await once(run, 'data')) as [{ StatusCode: number }];
    await output;
    out.end();
    err.end();
    equal(result.StatusCode, 7);
    deepEqual([await text(out), await text(err)], ['told\n', 'complained\n']);
    const [container] = await created;
    await container.remove();

    const events: string[] = [];
    const shown = new PassThrough();
    const running = docker.run(
      busybox,
      ['echo', 'hello'],
      shown,
      { Tty: true, HostConfig: { AutoRemove: true } },
      () => {},
    );
    const shownAll = outputEnd(running);
    for (const name of ['container', 'stream', 'start', 'data']) running.on(name, () => events.push(name));
    await once(running, 'data');
    deepEqual(events, ['container', 'stream', 'start', 'data']);
    await shownAll;
    shown.end();
    equal(await text(shown), 'hello\r\n');
  },

  'attach, hijacked: standard input in both directions, half-closed': async () => {
    const container = await docker.createContainer({
      Image: busybox,
      Cmd: ['sh', '-c', 'tr a-z A-Z; echo after >&2'],
      OpenStdin: true,
      StdinOnce: true,
      AttachStdin: true,
    });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const output = demultiplexed(stream);
    await container.start();
    stream.write('small ');
    stream.end('letters\n');
    deepEqual(await output, { out: 'SMALL LETTERS\n', err: 'after\n' });
    equal((await container.wait()).StatusCode, 0);
    await container.remove();
  },

  'attach without the hijack: output alone, also what is in the log already': async () => {
    const script = 'trap "echo after; exit" USR1; echo before; while :; do sleep 0.05; done';
    const container = await idle('shown', { Cmd: ['sh', '-c', script] });
    await until(await container.logs({ follow: true, stdout: true }), /before/);
    const output = demultiplexed(await container.attach({ stream: true, logs: true, stdout: true, stderr: true }));
    await container.kill({ signal: 'USR1' });
    deepEqual(await output, { out: 'before\nafter\n', err: '' });
    await container.wait();
    await container.remove();
  },

  'a terminal: attach, resize, and the size that the program sees': async () => {
    const container = await docker.createContainer({ Image: busybox, Cmd: ['sh'], Tty: true, OpenStdin: true });
    const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    await container.start();
    await container.resize({ w: 90, h: 33 });
    stream.write("stty size; echo do''ne\n");
    match(await until(stream, /done\r\n/), /33 90\r\n/);
    stream.write('exit 6\n');
    equal((await container.wait()).StatusCode, 6);
    await container.remove();
  },

  'exec: both streams, standard input, environment, user, folder, exit code, inspect while it runs': async () => {
    const container = await idle('executed');
    const command = 'echo $WORD $(id -u) $(pwd); echo complained >&2; exit 9';
    const exec = await container.exec({
      Cmd: ['sh', '-c', command],
      AttachStdout: true,
      AttachStderr: true,
      Env: ['WORD=spoken'],
      User: 'app',
      WorkingDir: '/tmp',
    });
    deepEqual(await demultiplexed(await exec.start({})), { out: 'spoken 1000 /tmp\n', err: 'complained\n' });
    equal((await exec.inspect()).ExitCode, 9);

    const cat = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
    const stream = await cat.start({ hijack: true, stdin: true });
    stream.write('started\n');
    await until(stream, /started/);
    const output = demultiplexed(stream);
    const running = await cat.inspect();
    deepEqual([running.Running, running.ExitCode, running.ContainerID], [true, null, container.id]);
    ok(running.Pid > 0);
    stream.end('x'.repeat(1 << 20));
    equal((await output).out.length, 1 << 20);
    equal((await cat.inspect()).ExitCode, 0);

    const detached = await container.exec({ Cmd: ['sh', '-c', 'echo made > /tmp/made'] });
    await detached.start({ Detach: true });
    await container.remove({ force: true });
  },

  'exec with a terminal: resize': async () => {
    const container = await idle('sized');
    const exec = await container.exec({
      Cmd: ['sh'],
      Tty: true,
      AttachStdin: true,
      AttachStdout: true,
      AttachStderr: true,
    });
    const stream = await exec.start({ hijack: true, stdin: true, Tty: true });
    stream.write("echo u''p\n");
    await until(stream, /up\r\n/);
    await exec.resize({ w: 77, h: 22 });
    stream.write("stty size; echo do''ne\n");
    match(await until(stream, /done\r\n/), /22 77\r\n/);
    stream.write('exit\n');
    await once(stream, 'end');
    await container.remove({ force: true });
  },

  'logs: a buffer, and followed to the end': async () => {
    const script = 'for n in 1 2 3; do echo out $n; echo err $n >&2; sleep 0.05; done';
    const container = await docker.createContainer({ Image: busybox, Cmd: ['sh', '-c', script] });
    await container.start();
    const followed = await demultiplexed(await container.logs({ follow: true, stdout: true, stderr: true }));
    deepEqual(followed, { out: 'out 1\nout 2\nout 3\n', err: 'err 1\nerr 2\nerr 3\n' });
    await container.wait();
    const kept = await container.logs({ stdout: true, stderr: false, timestamps: true });
    equal(kept[0], 1);
    match(kept.subarray(8).toString(), /^\d{4}-\d\d-\d\dT[\d:.]+Z out 1\n/);
    match(kept.toString(), /Z out 3\n$/);
    await container.remove();
  },

  'stats: once, and streamed until the reader goes': async () => {
    const container = await idle('counted');
    const first = await container.stats({ stream: false });
    ok(first.memory_stats.usage > 0 && first.cpu_stats.system_cpu_usage > 0 && first.pids_stats?.current === 1);
    const stream = await container.stats({ stream: true });
    const seen: Docker.ContainerStats[] = [];
    for await (const line of createInterface({ input: stream as Readable })) {
      seen.push(JSON.parse(line) as Docker.ContainerStats);
      if (seen.length === 3) break;
    }
    (stream as Readable).destroy();
    ok(seen[2]!.read > seen[1]!.read);
    equal(seen[2]!.precpu_stats.cpu_usage.total_usage, seen[1]!.cpu_stats.cpu_usage.total_usage);
    await container.remove({ force: true });
  },

  'wait: for the next exit and for the removal': async () => {
    const container = await docker.createContainer({
      Image: busybox,
      Cmd: ['sh', '-c', 'exit 3'],
      HostConfig: { AutoRemove: true },
    });
    const next = container.wait({ condition: 'next-exit' });
    const removed = container.wait({ condition: 'removed' });
    await container.start();
    deepEqual([(await next).StatusCode, (await removed).StatusCode], [3, 3]);
  },

  'events: live, filtered, and from the past': async () => {
    const live = (await docker.getEvents({ filters: { label: ['told=live'] } })) as Readable;
    const seen: { Action: string; Type: string; Actor: { ID: string; Attributes: Record<string, string> } }[] = [];
    const container = await docker.createContainer({
      Image: busybox,
      Cmd: ['true'],
      name: 'told',
      Labels: { told: 'live' },
    });
    await container.start();
    await container.wait();
    await container.remove();
    for await (const line of createInterface({ input: live })) {
      seen.push(JSON.parse(line) as (typeof seen)[number]);
      if (seen.at(-1)!.Action === 'destroy') break;
    }
    live.destroy();
    deepEqual(
      seen.map(({ Action }) => Action),
      ['create', 'start', 'die', 'destroy'],
    );
    deepEqual([seen[2]!.Actor.ID, seen[2]!.Actor.Attributes['exitCode']], [container.id, '0']);
    const until = Math.ceil(Date.now() / 1000) + 1;
    const past = (await docker.getEvents({
      since: 0,
      until,
      filters: { container: [container.id], event: ['die'] },
    })) as Readable;
    equal((await text(past)).trim().split('\n').length, 1);
  },
};

/** Runs a command in a container and waits for its end. */
export async function spoken(container: Docker.Container, command: string[]): Promise<string> {
  const exec = await container.exec({ Cmd: command, AttachStdout: true, AttachStderr: true });
  const { out, err } = await demultiplexed(await exec.start({}));
  equal((await exec.inspect()).ExitCode, 0, err);
  return out;
}
