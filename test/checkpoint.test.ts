import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { criuPath } from './support/criu.ts';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';

const flags = ['--experimental', '--criu-path', criuPath];
/** Counts up, in memory alone, and says where it is. */
const counter = 'i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done';

describe('checkpoint and restore', () => {
  let engine: TestEngine;
  beforeAll(async () => {
    engine = await TestEngine.start({ serve: flags });
  });
  afterAll(async () => {
    await engine[Symbol.asyncDispose]();
  });

  const cli = (...args: string[]) => engine.cli(args);
  const refused = async (...args: string[]) => {
    const { code, stderr } = await engine.cli(args, { expect: 'any' });
    expect(code).not.toBe(0);
    return stderr;
  };
  const format = async (name: string, template: string) =>
    (await cli('inspect', '--format', template, name)).stdout.trim();
  const lines = async (name: string) => (await cli('logs', name)).stdout.trimEnd().split('\n').map(Number);
  const start = (name: string, program: string, ...options: string[]) =>
    cli('run', '-d', '--runtime', 'runc', '--name', name, ...options, busybox, 'sh', '-c', program);
  const counts = (name: string, beyond: number) =>
    eventually(`${name} counts beyond ${beyond}`, async () => ((await lines(name)).at(-1) ?? 0) > beyond, 30_000);
  const ownFolder = async (name: string) =>
    join(engine.dataRoot, 'containers', await format(name, '{{.Id}}'), 'checkpoints');

  test('a counter goes on where it was, in the same log, also with another daemon', async () => {
    await start('counter', counter);
    await counts('counter', 5);
    expect((await cli('checkpoint', 'create', 'counter', 'first')).stdout).toBe('first\n');
    expect(await format('counter', '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 137');
    const before = (await lines('counter')).at(-1)!;
    expect((await cli('checkpoint', 'ls', 'counter')).stdout).toBe('CHECKPOINT NAME\nfirst\n');
    expect(statSync(join(await ownFolder('counter'), 'first')).mode & 0o777).toBe(0o700);
    expect(await refused('start', '--checkpoint', 'other', 'counter')).toContain(
      'checkpoint other does not exist for container counter',
    );
    expect(await format('counter', '{{.State.Status}} {{.State.ExitCode}}')).toBe('exited 137');
    await engine.stopDaemon('SIGKILL');
    await engine.serve(flags);
    await cli('start', '--checkpoint', 'first', 'counter');
    await counts('counter', before + 5);
    // None is missing, and none came twice.
    const all = await lines('counter');
    expect(all).toEqual(all.map((_, index) => index + 1));
    // What a container can do otherwise, a restored one can.
    expect((await cli('exec', 'counter', 'echo', 'inside')).stdout).toBe('inside\n');
    await cli('stop', '-t', '0', 'counter');
    // Up to the second before this one: events of this second come with the next.
    await eventually('its events are told', async () => {
      const range = ['--since', '0', '--until', String(Math.floor(Date.now() / 1000))];
      const { stdout } = await cli('events', ...range, '--filter', 'container=counter', '--format', '{{.Action}}');
      const told = stdout.split('\n').filter((action) => /^(start|checkpoint|die)$/.test(action));
      return told.join(' ') === 'start checkpoint die start die';
    });
    await cli('checkpoint', 'rm', 'counter', 'first');
    expect((await cli('checkpoint', 'ls', 'counter')).stdout).toBe('CHECKPOINT NAME\n');
    expect(await refused('checkpoint', 'rm', 'counter', 'first')).toContain('does not exist');
    await cli('rm', 'counter');
  }, 60_000);

  test('it runs on when told so, and each checkpoint has its moment', async () => {
    await start('twice', counter);
    await counts('twice', 3);
    await cli('checkpoint', 'create', '--leave-running', 'twice', 'early');
    expect(await format('twice', '{{.State.Status}}')).toBe('running');
    await counts('twice', (await lines('twice')).at(-1)! + 20);
    expect(await refused('checkpoint', 'create', 'twice', 'early')).toContain('already exists');
    await cli('checkpoint', 'create', 'twice', 'late');
    const last = (await lines('twice')).at(-1)!;
    await cli('start', '--checkpoint', 'early', 'twice');
    const again = await eventually('it counts again from before', async () => {
      const all = await lines('twice');
      return all.slice(all.indexOf(last) + 1).at(0);
    });
    expect(again).toBeLessThan(last - 10);
    // A restored container can be checkpointed in turn.
    await cli('checkpoint', 'create', 'twice', 'third');
    expect((await cli('checkpoint', 'ls', 'twice')).stdout).toBe('CHECKPOINT NAME\nearly\nlate\nthird\n');
    await cli('rm', 'twice');
  }, 60_000);

  test('addresses on two networks, an open connection, and a volume are there again', async () => {
    for (const network of ['one', 'two']) await cli('network', 'create', network);
    // A sink that keeps what it is sent, one line at a time, in a volume.
    const options = ['--network', 'one', '-v', 'kept:/kept'];
    await cli(
      'create',
      '--runtime',
      'runc',
      '--name',
      'listener',
      ...options,
      busybox,
      'nc',
      '-l',
      '-p',
      '7000',
      '-e',
      'sh',
      '-c',
      'cat > /kept/said',
    );
    await cli('network', 'connect', 'two', 'listener');
    await cli('start', 'listener');
    const addresses = () =>
      format('listener', '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}} {{end}}');
    const before = await addresses();
    const feed = 'exec 3<>/fifo; nc $0 7000 <&3 & echo ready; while read line; do echo $line >&3; done';
    const [address] = before.split(' ');
    await cli(
      'run',
      '-d',
      '-i',
      '--name',
      'speaker',
      '--network',
      'one',
      busybox,
      'sh',
      '-c',
      `mkfifo /fifo; ${feed}`,
      address!,
    );
    const say = (text: string) => cli('exec', 'speaker', 'sh', '-c', `echo ${text} > /fifo`);
    const heard = (text: string) =>
      eventually(`${text} is heard`, async () => {
        const said = join(engine.dataRoot, 'volumes/kept/_data/said');
        return existsSync(said) && readFileSync(said, 'utf8').includes(text);
      });
    await eventually('the speaker speaks', async () => (await cli('logs', 'speaker')).stdout.includes('ready'));
    await say('before');
    await heard('before');
    expect(await refused('checkpoint', 'create', 'listener', 'plain')).toContain('tcp');
    expect(await format('listener', '{{.State.Status}}')).toBe('running');
    await engine.tare(['checkpoint', 'create', '--tcp-established', 'listener', 'connected']);
    // Others that come meanwhile get other addresses, unless they take these.
    await cli('start', '--checkpoint', 'connected', 'listener');
    expect(await addresses()).toBe(before);
    await say('after');
    await heard('after');
    await cli('rm', '-f', 'listener', 'speaker');
    await cli('network', 'rm', 'one', 'two');
  }, 60_000);

  test('a restore is refused while its address is somebody else', async () => {
    await cli('network', 'create', '--subnet', '10.77.0.0/24', 'given');
    await start('first', counter, '--network', 'given');
    const address = await format('first', '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}');
    await cli('checkpoint', 'create', 'first', 'point');
    await start('thief', 'sleep 1000', '--network', 'given', '--ip', address);
    expect(await refused('start', '--checkpoint', 'point', 'first')).toContain('Address already in use');
    await cli('rm', '-f', 'thief');
    await cli('start', '--checkpoint', 'point', 'first');
    await cli('rm', '-f', 'first');
    await cli('network', 'rm', 'given');
  }, 60_000);

  test('another container takes a checkpoint up from a folder, if nobody else can write to it', async () => {
    const directory = join(engine.root, 'elsewhere');
    await start('here', counter);
    await counts('here', 5);
    await cli('checkpoint', 'create', '--checkpoint-dir', directory, 'here', 'moved');
    const last = (await lines('here')).at(-1)!;
    expect((await cli('checkpoint', 'ls', '--checkpoint-dir', directory, 'here')).stdout).toContain('moved');
    await cli('create', '--runtime', 'runc', '--name', 'there', busybox, 'sh', '-c', counter);
    const from = ['--checkpoint', 'moved', '--checkpoint-dir', directory, 'there'];
    const folder = join(directory, 'moved');
    chmodSync(folder, 0o777);
    expect(await refused('start', ...from)).toContain('writable by nobody else');
    chmodSync(folder, 0o700);
    symlinkSync('/etc/passwd', join(folder, 'mm-1.link'));
    expect(await refused('start', ...from)).toContain('not a regular file');
    await engine.run(['rm', join(folder, 'mm-1.link')]);
    chmodSync(join(folder, 'inventory.img'), 0o666);
    expect(await refused('start', ...from)).toContain('inventory.img must belong to root');
    chmodSync(join(folder, 'inventory.img'), 0o600);
    // What another engine would read as the specification is nothing here.
    writeFileSync(join(folder, 'config.dump'), '{"process":{"args":["evil"]}}', { mode: 0o600 });
    writeFileSync(join(folder, 'spec.dump'), '{"root":{"path":"/"}}', { mode: 0o600 });
    await cli('start', ...from);
    await counts('there', last);
    expect((await lines('there'))[0]).toBeGreaterThan(1);
    // A folder of something else is not removed.
    mkdirSync(join(directory, 'precious'));
    expect(await refused('checkpoint', 'rm', '--checkpoint-dir', directory, 'here', 'precious')).toContain(
      'no checkpoint',
    );
    expect(existsSync(join(directory, 'precious'))).toBe(true);
    await cli('checkpoint', 'rm', '--checkpoint-dir', directory, 'here', 'moved');
    expect(readdirSync(directory)).toEqual(['precious']);
    await cli('rm', '-f', 'here', 'there');
  }, 60_000);

  test('what cannot be checkpointed says why, and goes on', async () => {
    await cli('run', '-d', '--runtime', 'crun', '--name', 'crun', busybox, 'sleep', '1000');
    expect(await refused('checkpoint', 'create', 'crun', 'point')).toMatch(
      /runtime crun .*without CRIU.*--runtime runc/,
    );
    expect(await format('crun', '{{.State.Status}}')).toBe('running');
    await cli('run', '-dt', '--runtime', 'runc', '--name', 'terminal', busybox, 'sleep', '1000');
    expect(await refused('checkpoint', 'create', 'terminal', 'point')).toContain(
      'not supported on containers with tty',
    );
    await start('fine', 'sleep 1000');
    const create = (body: object) =>
      engine.api<{ message: string }>('POST', '/containers/fine/checkpoints', { Exit: true, ...body });
    for (const CheckpointID of ['', '../up', 'a/b', '.hidden', 'x'.repeat(200)]) {
      const { status, body } = await create({ CheckpointID });
      expect(status).toBe(400);
      expect(body.message).toContain('Invalid checkpoint ID');
    }
    const relative = await create({ CheckpointID: 'point', CheckpointDir: 'not/absolute' });
    expect(relative.status).toBe(400);
    expect(relative.body.message).toContain('want an absolute path');
    await cli('stop', '-t', '0', 'fine');
    expect((await create({ CheckpointID: 'point' })).status).toBe(409);
    expect((await engine.api('DELETE', '/containers/fine/checkpoints/point')).status).toBe(404);
    expect((await engine.api('GET', '/containers/fine/checkpoints')).body).toEqual([]);
    await cli('rm', '-f', 'crun', 'terminal', 'fine');
  }, 60_000);

  test('a daemon killed while it writes a checkpoint leaves a container that goes on, and no half', async () => {
    await start('killed', counter);
    await counts('killed', 3);
    const folder = await ownFolder('killed');
    const creating = engine.cli(['checkpoint', 'create', 'killed', 'half'], { expect: 'any' });
    await eventually('it is being written', async () => existsSync(folder) && readdirSync(folder).length > 0);
    await engine.stopDaemon('SIGKILL');
    await creating;
    await engine.serve(flags);
    const { code } = await cli('inspect', 'killed');
    expect(code).toBe(0);
    const status = await format('killed', '{{.State.Status}}');
    const names = readdirSync(folder);
    // Killed before the rename, or after it.
    expect(names.filter((name) => name.startsWith('.'))).toEqual([]);
    if (status === 'running') await counts('killed', (await lines('killed')).at(-1)! + 3);
    else expect([status, names]).toEqual(['exited', ['half']]);
    await cli('rm', '-f', 'killed');
  }, 60_000);
});
