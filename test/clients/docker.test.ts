import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { cache } from '../support/built.ts';
import { shows } from '../support/compatibility.ts';
import { Compose, exitOf, patiently, printed } from '../support/compose.ts';
import { busybox, dockerClient } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';

describe('docker', { ...shows({ client: 'docker' }), timeout: 240_000 }, () => {
  const engine = withEngine();
  const docker = async (...args: string[]): Promise<string> => (await engine().docker(args)).stdout.trim();
  const refused = async (...args: string[]): Promise<string> =>
    (await engine().docker(args, { expect: 1 })).stderr.trim();
  /** Docker's client in a container, whose socket is the engine's own. */
  const withSocket = (): string[] => [
    ...['--volume', `${engine().socket}:/var/run/docker.sock`],
    ...['--volume', `${dockerClient}/usr/bin/docker:/usr/bin/docker:ro`],
    ...['--volume', `${dockerClient}/usr/libexec/docker:/usr/libexec/docker:ro`],
  ];
  beforeAll(async () => {
    await docker('import', join(cache, 'debian-layers/base.tar'), 'debian:base');
  });

  test('the socket in a container: it finds itself, runs, follows and removes its siblings', async () => {
    const script = [
      'docker inspect --format "{{.Name}}" $(hostname)',
      `docker run --rm ${busybox} echo sibling`,
      `docker run -d --name sibling ${busybox} sh -c 'echo from it; exit 3' >/dev/null`,
      'docker wait sibling',
      'docker logs sibling',
      'docker cp /etc/passwd sibling:/copied',
      'docker cp sibling:/copied - | tar -t',
      'docker rm sibling',
    ].join(' && ');
    const run = ['run', '--rm', '--name', 'inner', ...withSocket(), 'debian:base', 'sh', '-c', script];
    expect((await docker(...run)).split('\n')).toEqual(['/inner', 'sibling', '3', 'from it', 'copied', 'sibling']);
  });

  test('compose in a container, and use_api_socket of compose', async () => {
    const folder = join(engine().root, 'inner');
    mkdirSync(folder);
    // YAML takes JSON as it is.
    const services = { one: { image: busybox, command: ['sleep', '1000'], init: true, volumes: ['kept:/kept'] } };
    writeFileSync(join(folder, 'compose.yaml'), JSON.stringify({ name: 'inner', services, volumes: { kept: {} } }));
    const steps = ['up --detach --wait', 'exec -T one true', 'ps --format "{{.Name}} {{.State}}"', 'down -v'];
    const script = steps.map((step) => `docker compose --progress quiet ${step}`).join(' && ');
    const mounts = [...withSocket(), '--volume', `${folder}:${folder}`, '--workdir', folder];
    expect(await docker('run', '--rm', ...mounts, 'debian:base', 'sh', '-c', script)).toBe('inner-one-1 running');

    const asking = join(engine().root, 'asking');
    mkdirSync(asking);
    const client = {
      image: 'debian:base',
      command: ['docker', 'ps', '--format', '{{.Names}}'],
      use_api_socket: true,
      volumes: [`${dockerClient}/usr/bin/docker:/usr/bin/docker:ro`],
    };
    writeFileSync(join(asking, 'compose.yaml'), JSON.stringify({ name: 'asking', services: { client } }));
    // Where docker's own socket is, whatever DOCKER_HOST says; the machine's /run stays as it is.
    await engine().run(['sh', '-c', `mount -t tmpfs tmpfs /run && ln -s ${engine().socket} /run/docker.sock`]);
    const compose = new Compose(engine(), asking);
    expect((await compose.run(['up', '--exit-code-from', 'client'])).stdout).toMatch(/client-1 +\| asking-client-1/);
    await compose.run(['down']);
    await engine().run(['umount', '/run']);
  });

  test('names are filtered as regular expressions, anchored or not', async () => {
    for (const name of ['web', 'web-1', 'my-web'])
      await docker('create', '--name', name, '--label', 'filtered', busybox, 'true');
    const found = async (name: string): Promise<string[]> =>
      (await docker('ps', '--all', '--format', '{{.Names}}', '--filter', 'label=filtered', '--filter', `name=${name}`))
        .split('\n')
        .sort();
    expect(await found('web')).toEqual(['my-web', 'web', 'web-1']);
    expect(await found('^web$')).toEqual(['web']);
    expect(await found('^/web$')).toEqual(['web']);
    expect(await found('^web')).toEqual(['web', 'web-1']);
    expect(await found('-(1|2)$')).toEqual(['web-1']);
    expect(await docker('network', 'ls', '--format', '{{.Name}}', '--filter', 'name=^bridge$')).toBe('bridge');
    await docker('rm', 'web', 'web-1', 'my-web');
  });

  test('one container removed by many at once is gone, and nobody fails in other words than docker’s', async () => {
    await docker('run', '--detach', '--name', 'wanted', busybox, 'sleep', '1000');
    const results = await Promise.all(
      Array.from({ length: 8 }, () =>
        engine().api<{ message: string } | undefined>('DELETE', '/containers/wanted?force=1'),
      ),
    );
    expect(results.some(({ status }) => status === 204)).toBe(true);
    for (const { status, body } of results.filter((result) => result.status !== 204)) {
      expect([404, 409]).toContain(status);
      expect(body?.message).toMatch(/^(No such container: wanted|removal of container wanted is already in progress)$/);
    }
  });

  test('the words of refusals', async () => {
    const id = await docker('create', '--name', 'there', busybox, 'true');
    expect(await refused('start', 'nobody')).toContain('No such container: nobody');
    expect(await refused('inspect', '--type', 'network', 'nowhere')).toContain('network nowhere not found');
    expect(await refused('volume', 'inspect', 'none')).toContain('get none: no such volume');
    expect(await refused('image', 'inspect', 'absent')).toContain('No such image: absent:latest');
    expect(await refused('kill', 'there')).toContain(`container ${id} is not running`);
    expect(await refused('rename', 'there', 'there')).toContain(
      'Renaming a container with the same name as its current name',
    );
    expect(await refused('exec', 'there', 'true')).toContain(`container ${id} is not running`);
    expect(await refused('network', 'create', 'bridge')).toContain(
      'operation is not permitted on predefined bridge network',
    );
    await docker('network', 'create', 'mesh');
    expect(await refused('network', 'create', 'mesh')).toContain('network with name mesh already exists');
    await docker('network', 'rm', 'mesh');
    expect(await refused('network', 'rm', 'bridge')).toContain('bridge is a pre-defined network and cannot be removed');
    expect(await refused('rmi', busybox)).toContain(
      'conflict: unable to remove repository reference "busybox:test" (must force) - container',
    );
    await docker('rm', 'there');
  });

  test('events are followed live, from the past, and by object', async () => {
    const follower = engine().spawnCli(['events', '--filter', 'label=told', '--format', '{{.Action}}']);
    const text = printed(follower);
    await patiently('it listens', async () => {
      await docker('create', '--rm', '--label', 'told', busybox, 'true');
      return text().includes('create');
    });
    await docker('run', '--rm', '--label', 'told', '--name', 'told', busybox, 'true');
    await patiently('all is told', () =>
      ['attach', 'start', 'die', 'destroy'].every((action) => text().includes(action)),
    );
    follower.kill('SIGINT');
    await exitOf(follower);
    const now = String(Date.now() / 1000 + 1);
    expect(
      (
        await docker('events', '--since', '5m', '--until', now, '--filter', 'type=image', '--format', '{{.Action}}')
      ).split('\n'),
    ).toContain('import');
    await docker('container', 'prune', '--force');
  });
});
