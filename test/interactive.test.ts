import { expect, test } from 'vitest';
import { busybox, type TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace } from './support/faces.ts';
import { type Size, Terminal } from './support/terminal.ts';

/** A command under a terminal of its own, in the engine's namespaces. */
const terminal = (engine: TestEngine, args: readonly string[], size?: Size) =>
  new Terminal(engine.command(args), {
    spawn: (argv, env) => engine.spawn(argv, { ...engine.clientEnvironment, ...env }),
    ...(size === undefined ? {} : { size }),
  });

throughEveryFace('at a terminal', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);

  test('input reaches the program and its end too', async () => {
    const counted = await engine().cli(['run', '-i', '--rm', busybox, 'wc', '-c'], { input: 'y'.repeat(1_000_000) });
    expect(counted.stdout.trim()).toBe('1000000');
  });

  test('much output arrives whole and in order', async () => {
    const { bytes } = await cli('run', '--rm', busybox, 'seq', '1', '200000');
    expect(bytes.toString()).toBe(`${Array.from({ length: 200_000 }, (_, i) => i + 1).join('\n')}\n`);
  });

  test('a shell on a terminal has its size, its echo and its exit code', async () => {
    const shell = terminal(engine(), ['run', '-it', '--rm', '--name', 'shell', busybox, 'sh'], {
      rows: 33,
      columns: 101,
    });
    await shell.shows('# ');
    await eventually('the size arrived', async () => {
      const { stdout } = await cli('exec', 'shell', 'sh', '-c', 'stty size < /proc/1/fd/0');
      return stdout.trim() === '33 101';
    });
    shell.type('echo $((6*7)); exit 11\n');
    await shell.shows('42');
    expect(await shell.ended).toBe(11);
  });

  test('the detach keys leave the container running, and attach comes back', async () => {
    const first = terminal(engine(), ['run', '-it', '--name', 'kept', busybox, 'sh']);
    await first.shows('# ');
    first.type('\x10\x11');
    await first.ended;
    expect((await cli('inspect', '-f', '{{.State.Status}}', 'kept')).stdout.trim()).toBe('running');
    const second = terminal(engine(), ['attach', '--detach-keys', 'ctrl-a,d', 'kept']);
    second.type('echo back\n');
    await second.shows('\nback');
    second.type('\x01d');
    await second.ended;
    expect((await cli('inspect', '-f', '{{.State.Status}}', 'kept')).stdout.trim()).toBe('running');
    await cli('rm', '-f', 'kept');
  });

  test('exec on a terminal', async () => {
    await cli('run', '-d', '--name', 'base', busybox, 'sleep', '600');
    const shell = terminal(engine(), ['exec', '-it', 'base', 'sh']);
    await shell.shows('# ');
    shell.type('tty; exit 4\n');
    await shell.shows('/dev/pts/');
    expect(await shell.ended).toBe(4);
    await cli('rm', '-f', 'base');
  });

  test('signals go to the program when a client without a terminal is attached', async () => {
    const script = 'trap "echo caught; exit 5" TERM; echo ready; while :; do sleep 0.05; done';
    const child = engine().spawnCli(['run', '--rm', '--name', 'proxied', busybox, 'sh', '-c', script]);
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await eventually('the program is ready', () => said.includes('ready'));
    child.kill('SIGTERM');
    expect(await ended).toBe(5);
    expect(said).toContain('caught');
  });

  test('two clients see the same output', async () => {
    await cli('create', '-i', '--name', 'watched', busybox, 'cat');
    const first = engine().spawnCli(['start', '-ai', 'watched']);
    const seen: string[] = ['', ''];
    first.stdout.on('data', (chunk: Buffer) => {
      seen[0] += chunk.toString();
    });
    await eventually('it runs', async () => (await cli('ps', '-q', '--filter', 'name=watched')).stdout !== '');
    const second = engine().spawnCli(['attach', '--no-stdin', 'watched']);
    second.stdout.on('data', (chunk: Buffer) => {
      seen[1] += chunk.toString();
    });
    await eventually('both see what one wrote', () => {
      first.stdin.write('hello\n');
      return seen.every((text) => text.includes('hello'));
    });
    first.stdin.end();
    await cli('wait', 'watched');
    await cli('rm', 'watched');
  });

  test('a reader that is slow loses nothing', async () => {
    const child = engine().spawnCli(['run', '--rm', busybox, 'seq', '1', '300000']);
    child.stdout.pause();
    await new Promise((resolve) => setTimeout(resolve, 1000));
    let received = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      received += chunk.length;
    });
    child.stdout.resume();
    await new Promise((resolve) => child.once('close', resolve));
    expect(received).toBe(Array.from({ length: 300_000 }, (_, i) => String(i + 1).length + 1).reduce((a, b) => a + b));
  });
});
