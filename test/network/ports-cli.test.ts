import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';

const server = (page: string) => [
  'sh',
  '-c',
  `mkdir -p /p && echo ${page} > /p/index.html && exec httpd -f -p 80 -h /p`,
];
const fetch = (url: string) => ['curl', '--silent', '--show-error', '--fail', '--max-time', '30', url];

// docker's own client has no such commands.
describe.each(['tare', 'in-process'] as const)('ports of a running container, through %s', (face) => {
  const engine = withEngine({ face });
  const cli = (...args: string[]) => engine().cli(args);
  const refused = (...args: string[]) => engine().cli(args, { expect: 'any' });
  const page = async (url: string) => (await engine().run(fetch(url), { expect: 'any' })).stdout;

  test('added, listed, kept over a restart, told of, taken back', async () => {
    await using outside = await engine().outside();
    await cli('run', '-d', '--name', 'web', busybox, ...server('here'));
    const host = outside.insideAddress;
    expect(await page(`http://${host}:18090/`)).toBe('');
    const added = await cli('port', 'add', 'web', '18090:80', '127.0.0.1:18091:80/tcp');
    expect(added.stdout).toContain('80/tcp -> 0.0.0.0:18090\n');
    expect(added.stdout).toContain('80/tcp -> 127.0.0.1:18091\n');
    await eventually('the server listens', async () => (await page('http://127.0.0.1:18091/')) === 'here\n');
    expect((await outside.run(fetch(`http://${host}:18090/`))).stdout).toBe('here\n');
    expect((await cli('port', 'web')).stdout).toContain('80/tcp -> 127.0.0.1:18091');

    // Held: no program of the host takes it.
    await eventually('the port is held', async () => {
      const holder = await engine().run(['timeout', '1', 'busybox', 'nc', '-l', '-p', '18090'], { expect: 'any' });
      return /in use/.test(holder.stderr);
    });

    const taken = await refused('run', '-d', '--name', 'late', '-p', '18090:80', busybox, 'sleep', '9');
    expect(taken.code).not.toBe(0);
    expect(taken.stderr).toContain('port is already allocated (by container web)');
    await cli('rm', '-f', 'late');

    await cli('restart', '-t', '0', 'web');
    await eventually('it serves again', async () => (await page(`http://${host}:18090/`)) === 'here\n');

    const why = (await cli('network', 'why', 'web', '80')).stdout;
    expect(why).toContain('Port 80/tcp of web');
    expect(why).toContain('this host, by localhost: 127.0.0.1:18091');
    expect(why).toContain('element tcp . 18090 :');
    expect((await cli('network', 'why', 'web', '81')).stdout).toContain('nothing in the container listens on 81/tcp');
    expect(JSON.parse((await cli('network', 'why', '--format', 'json', 'web', '80/tcp')).stdout).Port).toBe('80/tcp');
    expect((await refused('network', 'why', 'web', '80/icmp')).stderr).toContain('expected PORT[/tcp|udp|sctp]');

    await cli('port', 'rm', 'web', '18090:80');
    expect(await page(`http://${host}:18090/`)).toBe('');
    expect(await page('http://127.0.0.1:18091/')).toBe('here\n');
    expect((await refused('port', 'rm', 'web', '18090:80')).stderr).toContain('is not published');
    await cli('port', 'rm', 'web', '80');
    expect((await cli('port', 'web')).stdout).toBe('');
    await cli('restart', '-t', '0', 'web');
    expect((await cli('port', 'web')).stdout).toBe('');
    await cli('rm', '-f', 'web');
  });

  test('of a container that does not run, and where there are none', async () => {
    await cli('create', '--name', 'still', busybox, ...server('here'));
    expect((await cli('port', 'add', 'still', '18092:80')).stdout).toBe('');
    expect((await refused('port', 'add', 'still', '18092:80')).stderr).toContain('is published already');
    await cli('start', 'still');
    expect((await cli('port', 'still')).stdout).toContain('80/tcp -> 0.0.0.0:18092');
    await cli('rm', '-f', 'still');
    await cli('run', '-d', '--name', 'bare', '--network', 'host', busybox, 'sleep', '60');
    expect((await refused('port', 'add', 'bare', '18093:80')).stderr).toContain('has network mode host');
    expect((await cli('network', 'why', 'bare', '80')).stdout).toContain('whoever reaches this host');
    await cli('rm', '-f', 'bare');
  });

  test('one family of a port, and one of all exposed ports, stay away after a restart', async () => {
    await cli('run', '-d', '--name', 'web', '-p', '18095:80', busybox, ...server('here'));
    await cli('port', 'rm', 'web', '[::]:18095:80');
    expect((await cli('port', 'web')).stdout).toBe('80/tcp -> 0.0.0.0:18095\n');
    await cli('restart', '-t', '0', 'web');
    expect((await cli('port', 'web')).stdout).toBe('80/tcp -> 0.0.0.0:18095\n');
    await cli('rm', '-f', 'web');

    await cli(
      'run',
      '-d',
      '--name',
      'two',
      '-p',
      '127.0.0.1::80',
      '-p',
      '[0:0::1]:18096:80',
      busybox,
      ...server('here'),
    );
    await cli('port', 'rm', 'two', '[::1]:18096:80');
    expect((await cli('port', 'two')).stdout).toMatch(/^80\/tcp -> 127\.0\.0\.1:\d+\n$/);
    await cli('restart', '-t', '0', 'two');
    expect((await cli('port', 'two')).stdout).toMatch(/^80\/tcp -> 127\.0\.0\.1:\d+\n$/);
    await cli('rm', '-f', 'two');

    await cli('run', '-d', '--name', 'all', '-P', '--expose', '80', '--expose', '81', busybox, ...server('here'));
    await cli('port', 'rm', 'all', '81');
    expect((await cli('port', 'all')).stdout).toMatch(/^80\/tcp -> 0\.0\.0\.0:\d+\n80\/tcp -> \[::\]:\d+\n$/);
    await cli('restart', '-t', '0', 'all');
    expect((await cli('port', 'all')).stdout).not.toContain('81/tcp');
    expect((await cli('port', 'all')).stdout).toContain('80/tcp');
    await cli('rm', '-f', 'all');
  });

  test('rules that somebody flushed are back within a second', async () => {
    await using outside = await engine().outside();
    const url = `http://${outside.insideAddress}:18094/`;
    await cli('run', '-d', '--name', 'web', '-p', '18094:80', busybox, ...server('here'));
    await eventually('it serves', async () => (await page(url)) === 'here\n');
    await engine().run(['nft', 'flush', 'ruleset']);
    const started = performance.now();
    const rules = async () => (await engine().run(['nft', 'list', 'ruleset'])).stdout;
    await eventually('the rules are back', async () => /18094/.test(await rules()));
    expect(performance.now() - started).toBeLessThan(1500);
    expect((await outside.run(fetch(url))).stdout).toBe('here\n');
    await cli('rm', '-f', 'web');
  });
});
