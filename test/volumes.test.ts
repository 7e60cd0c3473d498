import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { busybox, type TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { withEngine } from './support/faces.ts';

interface Volume {
  Name: string;
  Driver: string;
  Mountpoint: string;
  Options: Record<string, string> | null;
  Labels: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number };
}

/** What is mounted at volumes' folders, in the engine's namespace. */
async function mountedVolumes(engine: TestEngine): Promise<string[]> {
  const { stdout } = await engine.run(['cat', '/proc/self/mountinfo']);
  return [...stdout.matchAll(/\/volumes\/([^/ ]+)\/_data /g)].map(([, name]) => name!);
}

describe('volumes of the local driver', () => {
  const engine = withEngine({ face: 'docker' });
  const docker = (...args: string[]) => engine().docker(args);
  const refused = async (args: string[], code = 125) => (await engine().docker(args, { expect: code })).stderr;
  const make = (name: string, options: Record<string, string>) =>
    docker(
      'volume',
      'create',
      ...Object.entries(options).flatMap(([key, value]) => ['--opt', `${key}=${value}`]),
      name,
    );
  const inspect = async (name: string) => JSON.parse((await docker('volume', 'inspect', name)).stdout)[0] as Volume;
  /** A folder on the host, as the engine sees it. */
  const hostFolder = (name: string): string => {
    const path = join(engine().root, name);
    mkdirSync(path, { recursive: true });
    return path;
  };

  test('a tmpfs is shared by its containers, and goes with the last of them', async () => {
    await make('fast', { type: 'tmpfs', device: 'tmpfs', o: 'size=3m,uid=1000,mode=0750' });
    expect((await inspect('fast')).Options).toEqual({
      type: 'tmpfs',
      device: 'tmpfs',
      o: 'size=3m,uid=1000,mode=0750',
    });
    expect(await mountedVolumes(engine())).toEqual([]);
    await docker('run', '-d', '--name', 'first', '-v', 'fast:/t', busybox, 'sleep', '600');
    await docker('run', '--rm', '-v', 'fast:/t', busybox, 'sh', '-c', 'echo shared > /t/x');
    const look = 'cat /t/x; stat -c "%u %a" /t; df -k /t | tail -1';
    expect((await docker('exec', 'first', 'sh', '-c', look)).stdout).toMatch(/^shared\n1000 750\ntmpfs +3072 /);
    expect(await mountedVolumes(engine())).toEqual(['fast']);
    await docker('rm', '-f', 'first');
    expect(await mountedVolumes(engine())).toEqual([]);
    expect((await docker('run', '--rm', '-v', 'fast:/t', busybox, 'ls', '/t')).stdout).toBe('');
    await docker('volume', 'rm', 'fast');
  });

  test('a bind shows a folder of the host, whose files outlive the volume', async () => {
    const folder = hostFolder('theirs');
    writeFileSync(join(folder, 'kept'), 'theirs');
    await make('bound', { type: 'none', device: folder, o: 'bind' });
    await make('frozen', { type: 'none', device: folder, o: 'bind,ro,nosuid' });
    const { stdout } = await docker(
      'run',
      '--rm',
      '-v',
      'bound:/b',
      busybox,
      'sh',
      '-c',
      'cat /b/kept; echo more > /b/new',
    );
    expect(stdout).toBe('theirs');
    const mounts = await docker('run', '--rm', '-v', 'frozen:/f', busybox, 'grep', ' /f ', '/proc/self/mountinfo');
    expect(mounts.stdout).toMatch(/ \/f ro,nosuid[, ]/);
    expect(await refused(['run', '--rm', '-v', 'frozen:/f', busybox, 'touch', '/f/x'], 1)).toContain('Read-only');
    const usage = await engine().api<{ Volumes: Volume[] }>('GET', '/system/df?type=volume');
    expect(usage.body.Volumes.find(({ Name }) => Name === 'bound')?.UsageData?.Size).toBe(0);
    // Removed while a look keeps it mounted, too: what is shown there is not ours to empty.
    await docker('create', '--name', 'looker', '-v', 'bound:/b', busybox, 'true');
    expect((await docker('cp', 'looker:/b/new', '-')).stdout).toContain('more');
    expect(await mountedVolumes(engine())).toEqual([]);
    await docker('rm', 'looker');
    await docker('volume', 'rm', 'bound', 'frozen');
    expect((await engine().run(['ls', folder])).stdout).toBe('kept\nnew\n');
  });

  test('nfs: the server’s name becomes an address, and what the kernel says is told', async () => {
    await make('far', { type: 'nfs', device: ':/exports', o: 'addr=localhost,rw,nolock' });
    const error = await refused(['run', '--rm', '-v', 'far:/f', busybox, 'true']);
    expect(error).toMatch(/error while mounting volume '[^']+': failed to mount local volume: mount :\/exports:/);
    expect(error).toContain('data: addr=127.0.0.1,nolock');
    await make('lost', { type: 'nfs', device: ':/exports', o: 'addr=nobody.invalid' });
    expect(await refused(['run', '--rm', '-v', 'lost:/f', busybox, 'true'])).toContain(
      'error resolving passed in network volume address: lookup nobody.invalid: no such host',
    );
    expect((await docker('ps', '-aq')).stdout).toBe('');
    await docker('volume', 'rm', 'far', 'lost');
  });

  test.each([
    ['an unknown option', ['--opt', 'foo=bar'], 'create bad: invalid option: "foo"'],
    ['a type without a device', ['--opt', 'type=tmpfs'], 'create bad: missing required option: "device"'],
    [
      'options without a type',
      ['--opt', 'o=bind', '--opt', 'device=/x'],
      'create bad: missing required option: "type"',
    ],
    ['a size', ['--opt', 'size=1g'], 'create bad: quota size requested but no quota support'],
    [
      'a driver that is a plugin',
      ['-d', 'sshfs'],
      'create bad: error looking up volume plugin sshfs: plugin "sshfs" not found',
    ],
  ])('%s is refused', async (_, args, message) => {
    expect(await refused(['volume', 'create', ...args, 'bad'], 1)).toContain(message);
    expect((await docker('volume', 'ls', '-q')).stdout).not.toContain('bad');
  });

  test('drivers of `run` that are plugins are refused, and nothing is made', async () => {
    const message = 'error looking up volume plugin sshfs: plugin "sshfs" not found';
    expect(await refused(['run', '--volume-driver', 'sshfs', '-v', 'remote:/r', busybox, 'true'])).toContain(message);
    const mount = 'type=volume,src=remote,dst=/r,volume-driver=sshfs';
    expect(await refused(['run', '--mount', mount, busybox, 'true'])).toContain(message);
    expect((await docker('volume', 'ls', '-q', '--filter', 'name=remote')).stdout).toBe('');
    const cluster = await engine().api<{ message: string }>('PUT', '/volumes/any?version=1', { Spec: {} });
    expect(cluster).toMatchObject({
      status: 503,
      body: { message: 'volume update only valid for cluster volumes, but swarm is unavailable' },
    });
  });

  test('the long form makes a volume with labels and options of its driver', async () => {
    const options =
      'volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,"volume-opt=o=size=2m,mode=1700"';
    const mount = `type=volume,src=made,dst=/m,volume-label=a=b,volume-label=c,volume-nocopy,${options}`;
    const { stdout } = await docker('run', '--rm', '--mount', mount, busybox, 'sh', '-c', 'df -k /m | tail -1');
    expect(stdout).toMatch(/^tmpfs +2048 /);
    expect(await inspect('made')).toMatchObject({
      Labels: { a: 'b', c: '' },
      Options: { type: 'tmpfs', device: 'tmpfs', o: 'size=2m,mode=1700' },
    });
    await docker('volume', 'rm', 'made');
  });

  test('an empty volume takes what the image has there, with owners and modes, unless told not to', async () => {
    const look = 'cat /data/kept; stat -c "%u:%g %a" /data';
    expect((await docker('run', '--rm', '-v', 'filled:/data', busybox, 'sh', '-c', look)).stdout).toBe(
      'from the image\n1000:1000 750\n',
    );
    expect((await docker('run', '--rm', '-v', 'filled:/x', busybox, 'cat', '/x/kept')).stdout).toBe('from the image\n');
    expect((await docker('run', '--rm', '-v', 'plain:/data:nocopy', busybox, 'ls', '/data')).stdout).toBe('');
    await docker('volume', 'rm', 'filled', 'plain');
  });

  test('a subpath shows a part, and a container cannot make it lead out', async () => {
    const write =
      'mkdir -p /v/a/b; echo deep > /v/a/b/file; ln -s a/b /v/inside; ln -s /etc /v/abs; ln -s ../../.. /v/rel';
    await docker('run', '--rm', '-v', 'parts:/v', busybox, 'sh', '-c', write);
    const show = (subpath: string) => [
      ...['run', '--rm', '--mount', `type=volume,src=parts,dst=/m,volume-subpath=${subpath}`],
      ...[busybox, 'sh', '-c', 'cat /m/file 2>/dev/null || cat /m; touch /m/made 2>/dev/null; true'],
    ];
    for (const good of ['a/b', 'inside', 'a/b/file', './a//b']) {
      expect((await engine().docker(show(good))).stdout, good).toBe('deep\n');
    }
    expect((await docker('run', '--rm', '-v', 'parts:/v', busybox, 'ls', '/v/a/b')).stdout).toBe('file\nmade\n');
    for (const bad of ['abs', 'rel', 'abs/passwd']) expect(await refused(show(bad)), bad).toContain('leads out');
    // Docker's client takes these words for a program that is missing.
    expect(await refused(show('nothing'), 127)).toContain('no such file or directory');
    for (const bad of ['../x', 'a/../..', '/a']) {
      expect(await refused(show(bad)), bad).toContain('subpath must be a relative path within the volume');
    }
    // A link that is planted before a start by the container that has the whole volume.
    await docker(
      'create',
      '--name',
      'waiting',
      '--mount',
      'type=volume,src=parts,dst=/m,volume-subpath=a',
      busybox,
      'ls',
      '/m',
    );
    await docker('run', '--rm', '-v', 'parts:/v', busybox, 'sh', '-c', 'mv /v/a /v/moved; ln -s /etc /v/a');
    expect(await refused(['start', '-a', 'waiting'], 1)).toContain('leads out');
    // A look at its files does not follow it either.
    expect(await refused(['cp', 'waiting:/m/passwd', '-'], 1)).toContain('Could not find the file');
    await docker('rm', 'waiting');
    await docker('volume', 'rm', 'parts');
  });

  test('links of the host that a volume’s folder contains are the volume’s own', async () => {
    const folder = hostFolder('tricky');
    symlinkSync('/etc', join(folder, 'out'));
    await make('tricky', { type: 'none', device: folder, o: 'bind' });
    const mount = 'type=volume,src=tricky,dst=/m,volume-subpath=out';
    expect(await refused(['run', '--rm', '--mount', mount, busybox, 'ls', '/m'])).toContain('leads out');
    expect(await mountedVolumes(engine())).toEqual([]);
    await docker('volume', 'rm', 'tricky');
  });

  test('anonymous volumes go with --rm and `rm -v`, named ones and those that others took over stay', async () => {
    const names = async () => (await docker('volume', 'ls', '-q')).stdout.split('\n').filter(Boolean);
    await docker('run', '--rm', '-v', '/anon', '-v', 'named:/n', busybox, 'true');
    expect(await names()).toEqual(['named']);
    await docker('create', '--name', 'owner', '-v', '/anon', busybox, 'true');
    await docker('create', '--name', 'heir', '--volumes-from', 'owner', busybox, 'true');
    await docker('rm', '-v', 'owner');
    expect(await names()).toHaveLength(2);
    await docker('rm', 'heir');
    expect(await names()).toHaveLength(2);
    const filter = (await docker('volume', 'ls', '-q', '--filter', 'dangling=true')).stdout.split('\n').filter(Boolean);
    expect(filter).toHaveLength(2);
    const pruned = await docker('volume', 'prune', '--force');
    expect(pruned.stdout).toMatch(/Deleted Volumes:\n[0-9a-f]{64}\n/);
    expect(await names()).toEqual(['named']);
    await docker('volume', 'create', '--label', 'keep', 'labelled');
    await docker('volume', 'prune', '--all', '--force', '--filter', 'label!=keep');
    expect(await names()).toEqual(['labelled']);
    await docker('volume', 'prune', '--all', '--force', '--filter', 'label=keep');
    expect(await names()).toEqual([]);
  });

  test('a volume that is used is not removed', async () => {
    const id = (await docker('create', '--name', 'user', '-v', 'used:/u', busybox, 'true')).stdout.trim();
    expect(await refused(['volume', 'rm', 'used'], 1)).toContain(`remove used: volume is in use - [${id}]`);
    await docker('rm', 'user');
    await docker('volume', 'rm', 'used');
    expect(await refused(['volume', 'rm', 'used'], 1)).toContain('get used: no such volume');
    await docker('volume', 'rm', '--force', 'used');
  });

  test('a kill of daemon, monitor and container leaves no volume mounted, and one in use stays so', async () => {
    await make('counted', { type: 'tmpfs', device: 'tmpfs' });
    for (const name of ['stays', 'dies']) {
      await docker('run', '-d', '--name', name, '-v', 'counted:/c', busybox, 'sleep', '600');
    }
    const pid = async (name: string) => Number((await docker('inspect', '-f', '{{.State.Pid}}', name)).stdout);
    const [staying, dying] = [await pid('stays'), await pid('dies')];
    await engine().stopDaemon('SIGKILL');
    process.kill(dying, 'SIGKILL');
    await engine().serve();
    await eventually('its end is known', async () => {
      return (await docker('inspect', '-f', '{{.State.Status}}', 'dies')).stdout.trim() === 'exited';
    });
    expect(await mountedVolumes(engine())).toEqual(['counted']);
    await engine().stopDaemon('SIGKILL');
    process.kill(staying, 'SIGKILL');
    await engine().serve();
    await eventually('nothing is mounted', async () => (await mountedVolumes(engine())).length === 0);
    await docker('rm', 'stays', 'dies');
    await docker('volume', 'rm', 'counted');
  });

  test('an image is shown read-only, whole or a part of it, while its container runs', async () => {
    const mount = (more: string) => ['--mount', `type=image,source=${busybox},target=/image${more}`];
    const { stdout } = await docker('run', '--rm', ...mount(''), busybox, 'cat', '/image/data/kept');
    expect(stdout).toBe('from the image\n');
    const part = mount(',image-subpath=etc/group');
    expect((await docker('run', '--rm', ...part, busybox, 'head', '-1', '/image')).stdout).toBe('root:x:0:\n');
    expect(await refused(['run', '--rm', ...mount(''), busybox, 'touch', '/image/x'], 1)).toContain('Read-only');
    expect(await refused(['run', '--rm', ...mount(',image-subpath=../x'), busybox, 'true'])).toContain(
      'subpath must be',
    );
    const absent = await refused(
      ['create', '--mount', 'type=image,source=nobody/has:this,target=/i', busybox, 'true'],
      1,
    );
    expect(absent).toContain('No such image: nobody/has:this');
    await docker('create', '--name', 'viewer', ...mount(''), busybox, 'true');
    const [shown] = JSON.parse((await docker('inspect', '-f', '{{json .Mounts}}', 'viewer')).stdout);
    expect(shown).toMatchObject({
      Type: 'image',
      Destination: '/image',
      RW: false,
      Source: expect.stringMatching(/^\//),
    });
    expect((await docker('cp', 'viewer:/image/data/kept', '-')).stdout).toContain('from the image');
    await docker('rm', 'viewer');
    const { stdout: snapshots } = await engine().run(['ls', join(engine().dataRoot, 'snapshots')]);
    expect(snapshots).not.toMatch(/^[0-9a-f]{64}\./m);
  });

  test('an image that is mounted by a container is not removed', async () => {
    await docker('tag', busybox, 'other:1');
    await docker('create', '--name', 'plain', busybox, 'true');
    await docker('commit', 'plain', 'mounted:1');
    await docker('create', '--name', 'viewer', '--mount', 'type=image,source=mounted:1,target=/i', busybox, 'ls', '/i');
    expect(await refused(['rmi', 'mounted:1'], 1)).toContain('conflict');
    expect((await docker('start', '-a', 'viewer')).stdout).toContain('www');
    await docker('rm', 'viewer', 'plain');
    await docker('rmi', 'mounted:1', 'other:1');
  });
});
