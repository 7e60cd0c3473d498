import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shows } from '../support/compatibility.ts';
import { patiently, printed } from '../support/compose.ts';
import { seedDebianImage } from '../support/debian-images.ts';
import { dockerClient, TestEngine } from '../support/engine.ts';
import { busyboxEntries } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';
import { cases } from './testcontainers.ts';

/** Ryuk, from Debian's Python and a program of ours that speaks its protocol. */
async function seedReaper(registry: TestRegistry): Promise<void> {
  const program = readFileSync(join(import.meta.dirname, 'testcontainers/reaper.py'));
  await seedDebianImage(registry, 'testcontainers/ryuk:1', {
    layers: ['base', 'python'],
    files: [{ path: 'reaper.py', content: program }],
    config: {
      Entrypoint: ['python3', '-B', '/reaper.py'],
      Cmd: [],
      ExposedPorts: { '8080/tcp': {} },
      // By which clients and reapers know it.
      Labels: { 'org.testcontainers.ryuk': 'true' },
    },
  });
}

/** What carries ports of the test's machine into containers: an SSH server that root may enter by the password `root`. */
async function seedForwarder(registry: TestRegistry): Promise<void> {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const password = execFileSync('openssl', ['passwd', '-6', 'root'], { encoding: 'utf8' }).trim();
  const settings = ['HostKey /etc/ssh/key', 'PermitRootLogin yes', 'PasswordAuthentication yes', 'GatewayPorts yes'];
  await seedDebianImage(registry, 'testcontainers/sshd:1', {
    layers: ['base', 'sshd'],
    files: [
      { path: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\nsshd:x:102:65534::/run/sshd:/bin/false\n' },
      { path: 'etc/shadow', content: `root:${password}:19000:0:99999:7:::\n`, mode: 0o600 },
      { path: 'etc/ssh/key', content: privateKey.export({ type: 'sec1', format: 'pem' }), mode: 0o600 },
      { path: 'etc/ssh/sshd_config', content: `${settings.join('\n')}\n`, mode: 0o600 },
      { path: 'run/sshd', type: 'directory', mode: 0o755 },
    ],
    config: { Cmd: ['/usr/sbin/sshd', '-D', '-e'], ExposedPorts: { '22/tcp': {} } },
  });
}

describe('testcontainers', { ...shows({ client: 'testcontainers' }), timeout: 240_000 }, () => {
  let engine: TestEngine;
  let environment: Record<string, string>;
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const registry = stack.use(await startRegistry());
    await seedReaper(registry);
    await seedForwarder(registry);
    await registry.seed('testcontainers/served', '1', { layers: [tar(busyboxEntries())], compression: 'none' });
    engine = stack.use(await TestEngine.start());
    stack.use(await tunnel(engine, registry.port));
    const temporary = join(engine.root, 'temporary');
    mkdirSync(temporary);
    environment = {
      ...engine.clientEnvironment,
      PATH: `${join(dockerClient, 'usr/bin')}:${process.env['PATH']}`,
      HOME: engine.root,
      TMPDIR: temporary,
      REGISTRY: registry.address,
      RYUK_CONTAINER_IMAGE: `${registry.address}/testcontainers/ryuk:1`,
      SSHD_CONTAINER_IMAGE: `${registry.address}/testcontainers/sshd:1`,
      TESTCONTAINERS_RYUK_RECONNECTION_TIMEOUT: '1s',
      // No process uses the reaper of one before it, which may be about to go.
      TESTCONTAINERS_RYUK_TEST_LABEL: 'true',
    };
  });
  afterAll(() => stack.disposeAsync());

  const program = (file: string): string => join(import.meta.dirname, file);
  const docker = async (...args: string[]): Promise<string> => (await engine.docker(args)).stdout.trim();

  test.each(Object.keys(cases))('%s', async (title) => {
    await engine.run([process.execPath, program('run-cases.ts'), program('testcontainers.ts'), title], {
      env: environment,
      timeoutMs: 200_000,
    });
  });

  test('the reaper removes all that a killed process left: containers, networks, volumes, images, compose', async () => {
    const script = `import { leave } from ${JSON.stringify(program('testcontainers.ts'))}; await leave();`;
    const killed = engine.spawn([process.execPath, '--input-type=module', '-e', script], environment);
    const said = printed(killed);
    await patiently('everything is there', () => {
      if (killed.exitCode !== null) throw new Error(`it ended: ${said()}`);
      return said().endsWith('}\n');
    });
    const { sessionId, containerId } = JSON.parse(said()) as { sessionId: string; containerId: string };
    const filters = [`label=org.testcontainers.session-id=${sessionId}`, 'label=com.docker.compose.project=left'];
    const left = async (filter: string): Promise<string[]> => {
      const lists = [['ps', '--all'], ['network', 'ls'], ['volume', 'ls'], ['images']];
      const ids = await Promise.all(lists.map((list) => docker(...list, '--quiet', '--filter', filter)));
      return ids.map((text) => (text === '' ? '' : `${text.split('\n').length}`));
    };
    // The reaper and the server; the network; the image. The service; its network; its two volumes.
    expect(await left(filters[0]!)).toEqual(['2', '1', '', '1']);
    expect(await left(filters[1]!)).toEqual(['1', '1', '1', '']);
    killed.kill('SIGKILL');
    for (const filter of filters) {
      await expect.poll(() => left(filter), { timeout: 60_000 }).toEqual(['', '', '', '']);
    }
    await patiently(
      'the reaper is gone',
      async () => !(await docker('ps', '--all', '--quiet', '--no-trunc')).includes(containerId),
    );
    expect(await docker('volume', 'ls', '--quiet', '--filter', 'dangling=true')).toBe('');
  });
});
