import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { node } from '../support/built.ts';
import { busybox, type TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import type { Outside } from '../support/outside.ts';

const upstreamProgram = join(import.meta.dirname, '../support/dns-upstream.ts');

/** Another host with a web server, and a resolver that gives its address for every name. */
async function serveWorld(engine: TestEngine, outside: Outside): Promise<void> {
  const resolver = outside.spawn([node, upstreamProgram, outside.address, '53', outside.address]);
  await new Promise<void>((resolve) => resolver.stdout.once('data', () => resolve()));
  const pages = join(engine.root, 'pages');
  mkdirSync(pages, { recursive: true });
  writeFileSync(join(pages, 'index.html'), 'here\n');
  outside.spawn(['busybox', 'httpd', '-f', '-p', '80', '-h', pages]);
  await eventually('the web server listens', async () => {
    const { code } = await engine.run(['curl', '-s', '-m', '2', `http://${outside.address}/`], { expect: 'any' });
    return code === 0;
  });
}

describe.each(['tare', 'in-process'] as const)('egress policies, through %s', (face) => {
  const engine = withEngine({ face });
  const cli = (...args: string[]) => engine().cli(args);
  const refused = async (...args: string[]) => (await engine().cli(args, { expect: 'any' })).stderr;
  /** 'here', or '' for what is out of reach. A static busybox has no resolver to call: a name is looked up by itself. */
  const web = async (container: string, host: string) => {
    const look = `nslookup ${host} | sed -n 's/^Address: //p' | head -n 1`;
    const address = /^[\d.]+$/.test(host) ? host : `$(${look})`;
    const request = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'";
    const fetch = ['exec', container, 'sh', '-c', `${request} | nc -w 5 ${address} 80 | tail -n 1`];
    return (await engine().cli(fetch, { expect: 'any' })).stdout.trim();
  };
  const show = async (...args: string[]) => (await cli('network', 'egress', 'show', ...args)).stdout;

  test('of a container on the default network: by name, changed while it runs, kept over a restart', async () => {
    await using outside = await engine().outside();
    await serveWorld(engine(), outside);
    const box = [busybox, 'sleep', '1000'];
    await cli('run', '-d', '--name', 'app', '--dns', outside.address, '--egress', 'allow=example.com:80', ...box);
    expect(await web('app', outside.address)).toBe('');
    expect(await web('app', 'example.com')).toBe('here');
    expect(await web('app', 'other.org')).toBe('');
    expect(await show('app')).toContain('  allow example.com:80\n  default deny\n');
    expect((await cli('network', 'why', 'app', '80')).stdout).toContain('note: an egress policy says');
    expect(await show('app')).toContain(`example.com ${outside.address} until `);
    await eventually('look-ups that were refused are told of', async () =>
      (await show('app')).includes('dns other.org'),
    );

    await cli('network', 'egress', 'allow', 'app', 'other.org:80/tcp');
    expect(await web('app', 'other.org')).toBe('here');
    await cli('restart', '-t', '0', 'app');
    expect(await web('app', 'other.org')).toBe('here');
    await cli('network', 'egress', 'withdraw', 'app', 'allow other.org:80/tcp', 'allow example.com:80');
    expect(await web('app', 'other.org')).toBe('');
    expect(await web('app', outside.address)).toBe('');
    expect((await cli('network', 'egress', 'log', 'app')).stdout).toMatch(/denied +app +tcp 198\.51\.100\.2:80/);
    await cli('network', 'egress', 'clear', 'app');
    expect(await show('app')).not.toContain('Denied');

    await cli('network', 'egress', 'default', 'app', 'learn');
    expect(await web('app', 'example.com')).toBe('here');
    await eventually('it is learned', async () =>
      (await cli('network', 'egress', 'learned', 'app')).stdout.includes('allow example.com:80/tcp\n'),
    );
    await cli('network', 'egress', 'rm', 'app');
    expect(await show('app')).toContain('has no egress policy');
    expect(await web('app', outside.address)).toBe('here');
    const report = JSON.parse((await cli('network', 'egress', '--format', 'json', 'show', 'app')).stdout);
    expect(report).toMatchObject({ Kind: 'container', Name: 'app', Default: '', Rules: [], Attempts: [] });
    await cli('rm', '-f', 'app');
    expect((await engine().run(['nft', 'list', 'ruleset'])).stdout).not.toContain('egress-c');
  });

  test('a keeper that is killed leaves open what was open and nothing else, and names come back', async () => {
    await using outside = await engine().outside();
    await serveWorld(engine(), outside);
    const bystander = '198.51.100.77';
    outside.spawn(['ip', 'address', 'add', `${bystander}/32`, 'dev', 'lo']);
    const box = [busybox, 'sleep', '1000'];
    await cli('run', '-d', '--name', 'free', ...box);
    await eventually('the bystander is there', async () => (await web('free', bystander)) === 'here');
    await cli('run', '-d', '--name', 'app', '--dns', outside.address, '--egress', 'allow=*.example.com:80', ...box);
    expect(await web('app', 'a0.example.com')).toBe('here');
    for (const round of [1, 2, 3]) {
      const [keeper] = engine()
        .processes()
        .filter(({ command }) => /\bkeeper\b/.test(command));
      process.kill(keeper!.pid, 'SIGKILL');
      expect(await web('app', outside.address)).toBe('here');
      await eventually('names are back', async () => {
        expect(await web('app', bystander)).toBe('');
        expect(await web('app', 'evil.org')).toBe('');
        return (await web('app', `a${round}.example.com`)) === 'here';
      });
      expect(await show('app')).toContain(`a${round}.example.com ${outside.address} until `);
      await eventually('a keeper lives', async () =>
        engine()
          .processes()
          .some(({ command, pid }) => /\bkeeper\b/.test(command) && pid !== keeper!.pid),
      );
    }
    await cli('rm', '-f', 'app', 'free');
  });

  test('of a network, by flag and by option; by the label of a client without the flag; in a file', async () => {
    await using outside = await engine().outside();
    await serveWorld(engine(), outside);
    const file = join(engine().root, 'policy');
    writeFileSync(file, `# what the shop needs\nallow ${outside.address}:80 # its partner\n\ndefault deny\n`);
    const box = [busybox, 'sleep', '1000'];
    await cli('network', 'create', '--egress', `file=${file}`, 'shop');
    await cli('network', 'create', '-o', 'tare.egress=deny 198.51.100.0/24; default allow', 'closed');
    await cli('run', '-d', '--name', 'free', '--network', 'shop', ...box);
    await cli('run', '-d', '--name', 'shut', '--network', 'closed', ...box);
    await cli('run', '-d', '--name', 'marked', '--label', 'tare.egress=deny any:80', ...box);
    expect(await web('free', outside.address)).toBe('here');
    expect(await web('shut', outside.address)).toBe('');
    expect(await web('marked', outside.address)).toBe('');
    expect(await show('free')).toContain(
      `Network shop must allow as well\n  allow ${outside.address}:80\n  default deny`,
    );
    await cli('network', 'egress', '--network', 'deny', 'shop', `${outside.address}/tcp`);
    expect(await web('free', outside.address)).toBe('');
    expect(await show('--network', 'shop')).toContain(`  deny ${outside.address}/tcp\n  allow ${outside.address}:80\n`);
    await eventually('who tried is told', async () =>
      (await show('--network', 'shop')).includes(' free tcp 198.51.100.2:80'),
    );
    await cli('rm', '-f', 'free', 'shut', 'marked');
    await cli('network', 'rm', 'shop', 'closed');
  });

  test('what cannot be, is refused before anything is made', async () => {
    const run = (...args: string[]) => refused('run', '-d', '--name', 'bad', ...args, busybox, 'sleep', '9');
    expect(await run('--egress', 'allow=example.com:99999')).toContain('invalid port "99999"');
    expect(await run('--egress', 'permit=example.com')).toContain('invalid egress rule "permit=example.com"');
    expect(await run('--egress', 'file=/nowhere')).toContain('cannot read the egress policy /nowhere');
    expect(await run('--egress', 'default=deny', '--network', 'host')).toContain('takes no egress policy');
    expect(await run('--egress', 'default=deny', '--label', 'tare.egress=default=deny')).toContain(
      'conflicting options',
    );
    expect(await refused('network', 'create', '--egress', 'deny=any', '-d', 'macvlan', 'wire')).toContain(
      'takes no egress policy',
    );
    expect((await cli('ps', '-aq', '--filter', 'name=bad')).stdout).toBe('');
    await cli('run', '-d', '--name', 'plain', busybox, 'sleep', '100');
    expect(await refused('network', 'egress', 'allow', 'plain', 'example.com')).toContain('has no egress policy');
    expect(await refused('network', 'egress', 'withdraw', 'plain', 'deny any')).toContain(
      'has no egress rule "deny any"',
    );
    expect(await refused('network', 'egress', 'forbid', 'plain')).toContain('expected one of show, log');
    await cli('rm', '-f', 'plain');
  });
});
