import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { throughEveryFace, withEngine } from '../support/faces.ts';
import { busyboxEntries, busyboxImage, dockerArchive } from '../support/image.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

interface ImageEvent {
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> };
}

const base = tar(busyboxEntries());
const archiveOf = (name: string, labels: Record<string, string> = {}) =>
  dockerArchive({ name, layers: [base, tar([{ path: 'name', content: name }])], config: { Labels: labels } });

throughEveryFace('images: names, removal, archives', (engine, face) => {
  const cli = (...args: string[]) => engine().cli(args);
  const fails = async (...args: string[]) => (await engine().cli(args, { expect: 1 })).stderr;
  const load = async (name: string, labels?: Record<string, string>) => {
    const path = join(engine().root, `${name.replace(/\W/g, '-')}.tar`);
    writeFileSync(path, archiveOf(name, labels));
    await cli('load', '--quiet', '--input', path);
    return (await cli('image', 'inspect', '--format', '{{.Id}}', name)).stdout.trim();
  };
  const names = async () =>
    (await cli('images', '--format', '{{.Repository}}:{{.Tag}}')).stdout.trim().split('\n').sort();

  test('rmi takes a name, then the image', async () => {
    const id = await load('one:1');
    await cli('tag', 'one:1', 'two:1');
    expect((await cli('rmi', 'one:1')).stdout).toBe('Untagged: one:1\n');
    expect((await cli('rmi', 'two:1')).stdout).toMatch(
      new RegExp(`^Untagged: two:1\nDeleted: ${id}\nDeleted: sha256:`),
    );
    expect(await fails('rmi', 'two:1')).toContain('No such image: two:1');
  });

  test('an id of several repositories needs force', async () => {
    const id = await load('one:1');
    await cli('tag', 'one:1', 'two:1');
    expect(await fails('rmi', id.slice(7, 19))).toContain('image is referenced in multiple repositories');
    expect((await cli('rmi', '--force', id.slice(7, 19))).stdout).toContain(`Deleted: ${id}`);
  });

  test('an image in use: what it takes to remove it', async () => {
    await load('used:1');
    await cli('run', '--detach', '--name', 'user', 'used:1', 'sleep', '100');
    expect(await fails('rmi', 'used:1')).toMatch(
      /conflict: unable to remove repository reference "used:1" \(must force\)/,
    );
    const id = (await cli('image', 'inspect', '--format', '{{.Id}}', 'used:1')).stdout.trim();
    expect(await fails('rmi', '--force', id)).toContain(
      '(cannot be forced) - image is being used by running container',
    );
    await cli('stop', '--time', '0', 'user');
    expect((await cli('rmi', '--force', 'used:1')).stdout).toContain('Untagged: used:1');
    expect(await names()).toEqual([busybox]);
    await cli('start', 'user');
    await cli('rm', '--force', 'user');
  });

  test('a name that moves leaves a dangling image, which prune takes', async () => {
    await load('moving:1', { keep: 'no' });
    const path = join(engine().root, 'next.tar');
    const next = dockerArchive({ name: 'moving:1', layers: [base, tar([{ path: 'x', content: 'next' }])] });
    writeFileSync(path, next);
    expect((await cli('load', '--input', path)).stdout).toContain(
      'The image moving:1 already exists, renaming the old one',
    );
    expect(await names()).toEqual(['<none>:<none>', busybox, 'moving:1']);
    expect((await cli('image', 'prune', '--force', '--filter', 'label=keep=yes')).stdout).not.toContain('deleted');
    expect((await cli('image', 'prune', '--force', '--filter', 'until=2010-01-01')).stdout).not.toContain('deleted');
    expect((await cli('image', 'prune', '--force', '--filter', 'label=keep=no')).stdout).toMatch(
      /deleted: sha256:.*\n(.*\n)*Total reclaimed space: [1-9]/,
    );
    expect((await cli('image', 'prune', '--force', '--all', '--filter', 'until=2030-01-01')).stdout).toMatch(
      /untagged: moving:1/,
    );
    await cli('load', '--quiet', '--input', busyboxImage().docker);
  });

  test('several images in one archive', async () => {
    const [one, two] = [await load('several:1'), await load('several:2')];
    const archive = join(engine().root, 'several.tar');
    await cli('save', '--output', archive, 'several:1', 'several:2', busybox);
    await cli('rmi', 'several:1', 'several:2');
    const { stdout } = await cli('load', '--input', archive);
    expect(stdout.trim().split('\n').sort()).toEqual([
      `Loaded image: ${busybox}`,
      'Loaded image: several:1',
      'Loaded image: several:2',
    ]);
    for (const [name, id] of Object.entries({ 'several:1': one, 'several:2': two })) {
      expect((await cli('image', 'inspect', '--format', '{{.Id}}', name)).stdout.trim()).toBe(id);
    }
    // A repository's bare name means all of its tags.
    await cli('save', '--output', archive, 'several');
    await cli('rmi', 'several:1', 'several:2');
    expect((await cli('load', '--input', archive)).stdout.match(/Loaded image/g)).toHaveLength(2);
    await cli('rmi', 'several:1', 'several:2');
  });

  test('history and inspect of the platform that is here, and of another', async () => {
    await load('platform:1');
    const here = process.arch === 'arm64' ? 'linux/arm64' : 'linux/amd64';
    const history = await cli('history', '--no-trunc', '--format', '{{.ID}} {{.CreatedBy}} {{.Size}}', 'platform:1');
    expect(history.stdout).toMatch(/^sha256:[0-9a-f]{64} layer 1 \d+B\n<missing> layer 0 [\d.]+[kM]B\n$/);
    if (face === 'docker') {
      await cli('image', 'inspect', '--platform', here, 'platform:1');
      expect(await fails('image', 'inspect', '--platform', 'linux/s390x', 'platform:1')).toContain(
        'does not provide the specified platform (linux/s390x)',
      );
      await cli('history', '--platform', here, 'platform:1');
      expect(await fails('history', '--platform', 'linux/s390x', 'platform:1')).toContain('(linux/s390x)');
      await cli('save', '--platform', here, '--output', join(engine().root, 'p.tar'), 'platform:1');
      await cli('load', '--platform', here, '--input', join(engine().root, 'p.tar'));
      expect(await fails('load', '--platform', 'linux/s390x', '--input', join(engine().root, 'p.tar'))).toContain(
        's390x',
      );
    }
    await cli('rmi', 'platform:1');
  });

  test('import from a web server', async () => {
    const rootfs = readFileSync(busyboxImage().rootfs);
    const server = createServer((request, response) => {
      const isThere = request.url === '/rootfs.tar';
      response.writeHead(isThere ? 200 : 404, { 'content-length': isThere ? rootfs.byteLength : 9 });
      response.end(isThere ? rootfs : 'not there');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    try {
      await using _tunnel = await tunnel(engine(), port);
      const { stdout } = await cli(
        'import',
        '--change',
        'CMD ["cat", "/www/index.html"]',
        `${url}/rootfs.tar`,
        'fetched:1',
      );
      expect(stdout).toContain(`Downloading from ${url}/rootfs.tar\n`);
      expect(stdout).toMatch(/\nsha256:[0-9a-f]{64}\n$/);
      expect((await cli('run', '--rm', 'fetched:1')).stdout).toBe('Hello from Tare\n');
      expect((await cli('history', '--format', '{{.Comment}}', 'fetched:1')).stdout).toContain(`Imported from ${url}`);
      await cli('rmi', 'fetched:1');
      expect(await fails('import', `${url}/none.tar`)).toContain(
        `failed to GET ${url}/none.tar with status 404 Not Found: not there`,
      );
      expect(await fails('import', 'http://127.0.0.1:1/x')).toContain('failed to GET http://127.0.0.1:1/x: ');
      expect(await names()).toEqual([busybox]);
    } finally {
      server.close();
    }
  });

  test('events tell what happened to images', async () => {
    const since = String(Date.now() / 1000);
    const id = await load('told:1', { kind: 'told' });
    await cli('tag', 'told:1', 'told:2');
    await cli('save', '--output', join(engine().root, 'told.tar'), 'told:1');
    await cli('rmi', 'told:1', 'told:2');
    const imported = (await engine().cli(['import', '-', 'told:3'], { input: base })).stdout.trim();
    await cli('rmi', 'told:3');
    const until = String(Date.now() / 1000 + 0.01);
    const { stdout } = await cli(
      'events',
      '--since',
      since,
      '--until',
      until,
      '--filter',
      'type=image',
      '--format',
      '{{json .}}',
    );
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as ImageEvent);
    expect(events.map(({ Action, Actor }) => [Action, Actor.ID])).toEqual([
      ...['load', 'tag', 'save', 'untag', 'untag', 'delete'].map((action) => [action, id]),
      ...['tag', 'import', 'untag', 'delete'].map((action) => [action, imported]),
    ]);
    expect(events[0]?.Actor.Attributes).toMatchObject({ kind: 'told' });
    expect(events[1]?.Actor.Attributes).toMatchObject({ name: 'told:2' });
  });

  test('disk usage in detail', async () => {
    await load('weighed:1');
    await cli('create', '--name', 'weigher', 'weighed:1', 'true');
    const { stdout } = await cli('system', 'df', '--verbose');
    // Busybox and this one share the layer of busybox.
    expect(stdout).toMatch(/^weighed +1 +[0-9a-f]{12} .* [\d.]+MB +[1-9][\d.]*[kM]?B +[\d.]+k?B +1$/m);
    await cli('rm', 'weigher');
    await cli('rmi', 'weighed:1');
  });
});

describe('docker’s client and the fields of images', () => {
  const engine = withEngine({ face: 'docker' });

  test('inspect tells where the layers lie', async () => {
    const { body } = await engine().api<{
      GraphDriver: { Name: string; Data: { UpperDir: string } };
      Descriptor: object;
    }>('GET', `/v1.51/images/${busybox}/json`);
    expect(body.GraphDriver.Name).toBe('overlay');
    const listed = await engine().run(['ls', body.GraphDriver.Data.UpperDir]);
    expect(listed.stdout.split('\n')).toContain('bin');
    expect(body.Descriptor).toMatchObject({ mediaType: 'application/vnd.oci.image.manifest.v1+json' });
  });

  test('image ls --tree shows the platforms', async () => {
    const { stdout } = await engine().docker(['image', 'ls', '--tree']);
    expect(stdout).toMatch(/busybox:test +[0-9a-f]{12}/);
    expect(stdout).toMatch(/└─ linux\/(amd64|arm64)/);
  });

  test.each(['1.24', '1.40', '1.43', '1.47', '1.50'])('images at API %s', async (version) => {
    const env = { DOCKER_API_VERSION: version };
    const { stdout } = await engine().docker(['images', '--no-trunc', '--format', '{{.ID}}'], { env });
    expect(stdout.trim()).toMatch(/^sha256:[0-9a-f]{64}$/);
    const inspected = await engine().docker(['image', 'inspect', '--format', '{{.Size}} {{.Os}}', busybox], { env });
    expect(inspected.stdout).toMatch(/^[1-9]\d+ linux\n$/);
  });

  test('what makes no sense is refused with a status', async () => {
    const status = async (method: string, path: string) => (await engine().api(method, path)).status;
    expect(await status('GET', '/images/none/json')).toBe(404);
    expect(await status('GET', '/images/NONE/json')).toBe(400);
    expect(await status('GET', `/images/${busybox}/json?platform=%7B%7D`)).toBe(400);
    expect(await status('POST', '/images/create?fromImage=scratch&tag=latest')).toBe(403);
    expect(await status('POST', '/images/create?fromImage=A&tag=1')).toBe(400);
    expect(await status('POST', `/images/${busybox}/tag?repo=B`)).toBe(400);
    expect(await status('GET', '/images/search?term=x&limit=101')).toBe(400);
    expect(await status('GET', `/distribution/${'0'.repeat(64)}/json`)).toBe(400);
  });
});
