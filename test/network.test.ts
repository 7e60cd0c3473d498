import { realpathSync } from 'node:fs';
import { expect, test } from 'vitest';
import { node } from './support/built.ts';
import { busybox, type TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { throughEveryFace, withEngine } from './support/faces.ts';

const server = (page: string) => ['sh', '-c', `mkdir /p && echo ${page} > /p/index.html && exec httpd -f -p 80 -h /p`];
const fetch = (url: string) => ['curl', '--silent', '--show-error', '--fail', '--max-time', '30', url];

/** Addresses, links, firewall elements and namespaces of containers, which must all be gone with them. */
async function plumbing(engine: TestEngine): Promise<{ links: string[]; published: string; namespaces: string[] }> {
  const links = (await engine.run(['ip', '-o', 'link'])).stdout
    .split('\n')
    .filter((line) => /veth|ifb/.test(line) && !/cable/.test(line));
  const ruleset = (await engine.run(['nft', 'list', 'ruleset'])).stdout;
  const mounts = (await engine.run(['cat', '/proc/self/mountinfo'])).stdout;
  return {
    links,
    published: ruleset.match(/\b18\d\d\d\b/g)?.join(' ') ?? '',
    namespaces: mounts.split('\n').filter((line) => line.includes(`${engine.execRoot}/netns/`)),
  };
}

throughEveryFace('the default network', (engine) => {
  const cli = (...args: string[]) => engine().cli(args);

  test('a container has an address of the bridge, a way out and its name in /etc/hosts', async () => {
    await using outside = await engine().outside();
    const { stdout } = await cli(
      'run',
      '--rm',
      '--hostname',
      'box',
      busybox,
      'sh',
      '-c',
      'ip -4 -o addr show eth0; hostname; grep box /etc/hosts',
    );
    expect(stdout).toMatch(/inet 1\d\d?\.\d+\.\d+\.\d+\/\d+/);
    expect(stdout).toMatch(/\nbox\n/);
    const web = outside.spawn(['busybox', 'nc', '-l', '-p', '9000', '-e', 'echo', 'the world']);
    await eventually('it listens', async () => (await outside.run(['ss', '-ltn'])).stdout.includes(':9000'));
    const reached = await cli('run', '--rm', busybox, 'nc', outside.address, '9000');
    expect(reached.stdout).toBe('the world\n');
    web.kill();
  });

  test('a published port answers other hosts, the host, loopback and other containers', async () => {
    await using outside = await engine().outside();
    await cli('run', '-d', '--name', 'web', '-p', '18080:80', busybox, ...server('here'));
    expect((await cli('port', 'web')).stdout).toContain('80/tcp -> 0.0.0.0:18080');
    await eventually(
      'the server listens',
      async () => (await engine().run(fetch('http://127.0.0.1:18080/'))).stdout === 'here\n',
    );
    expect((await outside.run(fetch(`http://${outside.insideAddress}:18080/`))).stdout).toBe('here\n');
    expect((await engine().run(fetch(`http://${outside.insideAddress}:18080/`))).stdout).toBe('here\n');
    const other = await cli('run', '--rm', busybox, 'wget', '-qO-', `http://${outside.insideAddress}:18080/`);
    expect(other.stdout).toBe('here\n');
    await cli('rm', '-f', 'web');
    await engine().run(fetch('http://127.0.0.1:18080/'), { expect: 7 });
  });

  test('a port bound to one address answers only there; a free port is found', async () => {
    await using outside = await engine().outside();
    await cli('run', '-d', '--name', 'local', '-p', '127.0.0.1:18081:80', '-p', '80/tcp', busybox, ...server('near'));
    await eventually(
      'the server listens',
      async () => (await engine().run(fetch('http://127.0.0.1:18081/'))).stdout === 'near\n',
    );
    await outside.run(fetch(`http://${outside.insideAddress}:18081/`), { expect: 7 });
    const free = /0\.0\.0\.0:(\d+)/.exec((await cli('port', 'local', '80/tcp')).stdout)![1];
    expect((await outside.run(fetch(`http://${outside.insideAddress}:${free}/`))).stdout).toBe('near\n');
    await cli('rm', '-f', 'local');
  });

  test('UDP is published too', async () => {
    await using outside = await engine().outside();
    // Nothing in busybox answers UDP, so the host's Node.js does, in the container's network.
    const echo = `const socket = require('node:dgram').createSocket('udp4');
      socket.on('message', (text, { port, address }) => socket.send(text, port, address)).bind(53);`;
    const served = ['-v', '/:/host:ro', busybox, 'chroot', '/host', realpathSync(node), '-e', echo];
    await cli('run', '-d', '--name', 'echo', '-p', '18090:53/udp', ...served);
    const ask = `const socket = require('node:dgram').createSocket('udp4');
      socket.on('message', (answer) => { console.log(String(answer)); process.exit(0); });
      setInterval(() => socket.send('ping', 18090, '${outside.insideAddress}'), 100);`;
    const asked = await outside.run([node, '-e', ask], { timeoutMs: 10_000 });
    expect(asked.stdout).toBe('ping\n');
    await cli('rm', '-f', 'echo');
  });

  test('a port in use is refused, by name, and leaves nothing', async () => {
    await cli('run', '-d', '--name', 'first', '-p', '18100:80', busybox, 'sleep', '600');
    const { stderr } = await engine().cli(['run', '-d', '--name', 'second', '-p', '18100:80', busybox, 'true'], {
      expect: 125,
    });
    expect(stderr).toContain('18100');
    await engine().cli(['rm', '-f', 'first', 'second'], { expect: 'any' });
    const taken = engine().spawn(['busybox', 'nc', '-l', '-p', '18101']);
    await eventually('another program listens', async () =>
      (await engine().run(['ss', '-ltn'])).stdout.includes(':18101'),
    );
    const refused = await engine().cli(['run', '--rm', '-p', '18101:80', busybox, 'true'], { expect: 125 });
    expect(refused.stderr).toContain('18101');
    taken.kill();
  });

  test('none, host and container: networks', async () => {
    const none = await cli('run', '--rm', '--network', 'none', busybox, 'ip', '-o', 'link');
    expect(none.stdout.trim().split('\n')).toHaveLength(1);
    const here = (await engine().run(['readlink', '/proc/self/ns/net'])).stdout;
    expect((await cli('run', '--rm', '--network', 'host', busybox, 'readlink', '/proc/self/ns/net')).stdout).toBe(here);
    await cli('run', '-d', '--name', 'shared', busybox, 'sleep', '600');
    const its = (await cli('exec', 'shared', 'readlink', '/proc/self/ns/net')).stdout;
    const joined = await cli('run', '--rm', '--network', 'container:shared', busybox, 'readlink', '/proc/self/ns/net');
    expect(joined.stdout).toBe(its);
    await cli('rm', '-f', 'shared');
  });

  test('two containers reach each other by address', async () => {
    await cli('run', '-d', '--name', 'one', busybox, ...server('inner'));
    const address = (await cli('inspect', '-f', '{{.NetworkSettings.Networks.bridge.IPAddress}}', 'one')).stdout.trim();
    await eventually('it answers', async () => {
      const page = await engine().cli(['run', '--rm', busybox, 'wget', '-qO-', `http://${address}/`], {
        expect: 'any',
      });
      return page.stdout === 'inner\n';
    });
    await cli('rm', '-f', 'one');
  });

  test('nothing is left once all are removed', async () => {
    expect((await cli('ps', '-aq')).stdout).toBe('');
    // The kernel drops the links with their namespace, a moment after.
    await expect
      .poll(() => plumbing(engine()), { timeout: 5000 })
      .toEqual({ links: [], published: '', namespaces: [] });
  });
});

const six = withEngine({ serve: ['--ipv6'] });

test('with IPv6, a container has both addresses and its port answers on both', async () => {
  await using outside = await six().outside();
  await six().cli(['run', '-d', '--name', 'web', '-p', '18080:80', busybox, ...server('six')]);
  const addresses = (await six().cli(['exec', 'web', 'ip', '-o', 'addr', 'show', 'eth0'])).stdout;
  expect(addresses).toMatch(/inet6 f[cd]/);
  await eventually(
    'the server listens',
    async () => (await six().run(fetch('http://127.0.0.1:18080/'))).stdout === 'six\n',
  );
  expect((await outside.run(fetch(`http://[${outside.insideAddress6}]:18080/`))).stdout).toBe('six\n');
  await six().cli(['rm', '-f', 'web']);
});
