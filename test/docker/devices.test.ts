import { chmodSync, chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { busybox, TestEngine } from '../support/engine.ts';

/** An engine that finds devices in two folders of its own; the second counts more. */
async function withFolders(): Promise<{ engine: TestEngine; folders: [string, string] }> {
  const engine = await TestEngine.start({ face: 'docker' });
  const folders = ['etc', 'run'].map((name) => join(engine.root, `cdi-${name}`)) as [string, string];
  for (const folder of folders) mkdirSync(folder, { mode: 0o755 });
  await engine.stopDaemon();
  await engine.serve(folders.flatMap((folder) => ['--cdi-spec-dir', folder]));
  return { engine, folders };
}

const write = (folder: string, name: string, spec: object | string, mode = 0o644) => {
  writeFileSync(join(folder, name), typeof spec === 'string' ? spec : JSON.stringify(spec));
  chmodSync(join(folder, name), mode);
};

const spec = (kind: string, devices: Record<string, object>, containerEdits: object = {}) => ({
  cdiVersion: '0.6.0',
  kind,
  containerEdits,
  devices: Object.entries(devices).map(([name, edits]) => ({ name, containerEdits: edits })),
});

describe('devices', () => {
  test('CDI: a container gets the nodes, mounts, variables, groups and hooks that the administrator wrote', async () => {
    const { engine, folders } = await withFolders();
    await using _engine = engine;
    const [etc, run] = folders;
    const theirs = join(engine.root, 'library');
    writeFileSync(theirs, 'library\n');
    const hooked = join(engine.root, 'hooked');
    write(
      etc,
      'vendor.yaml',
      [
        'cdiVersion: 0.6.0',
        'kind: vendor.com/device',
        'containerEdits:',
        '  env: [ALL=1]',
        `  hooks: [{hookName: createContainer, path: /bin/sh, args: [sh, -c, "cat > ${hooked}; echo $WHO >> ${hooked}"], env: [WHO=hook]}]`,
        'devices:',
        '- name: one',
        '  containerEdits:',
        '    env: [ONE=1]',
        '    additionalGids: [44]',
        '    deviceNodes: [{path: /dev/one, hostPath: /dev/null, permissions: rw, fileMode: 0o640, gid: 44}]',
        `    mounts: [{hostPath: ${theirs}, containerPath: /usr/lib/library, options: [ro, nosuid, bind]}]`,
        '- name: two',
        '  containerEdits: {env: [TWO=1]}',
      ].join('\n'),
    );
    const show =
      'env | grep -E "^(ALL|ONE|TWO)=" | sort; ls -ln /dev/one; echo x > /dev/one; cat /usr/lib/library; id -G; touch /usr/lib/library 2>&1';
    const { stdout } = await engine.docker(
      [
        ...[
          'run',
          '--rm',
          '--device',
          'vendor.com/device=one',
          '--device',
          'vendor.com/device=two',
          '--device',
          '/dev/zero:/dev/nought',
        ],
        ...[busybox, 'sh', '-c', `${show}; ls /dev/nought`],
      ],
      { expect: 0 },
    );
    expect(stdout).toMatch(/^ALL=1\nONE=1\nTWO=1\ncrw-r----- +1 0 +44 +1, +3 .*\/dev\/one\nlibrary\n/);
    expect(stdout).toMatch(/\b44\b/);
    expect(stdout).toContain('Read-only file system');
    expect(stdout.endsWith('/dev/nought\n')).toBe(true);
    const state = readFileSync(hooked, 'utf8');
    expect(state).toContain('"ociVersion"');
    expect(state.endsWith('hook\n')).toBe(true);
    expect(state.match(/hook\n/g)).toHaveLength(1);

    await engine.docker(['create', '--name', 'has', '--device', 'vendor.com/device=one', busybox, 'true']);
    const requests = JSON.parse(
      (await engine.docker(['inspect', '-f', '{{json .HostConfig.DeviceRequests}}', 'has'])).stdout,
    );
    expect(requests).toEqual([expect.objectContaining({ Driver: 'cdi', DeviceIDs: ['vendor.com/device=one'] })]);
    // What stands in a later folder counts more, and is looked up at each start.
    write(run, 'vendor.json', spec('vendor.com/device', { one: { env: ['ONE=later'] } }));
    const later = ['run', '--rm', '--device', 'vendor.com/device=one', busybox, 'sh', '-c', 'echo $ONE$ALL'];
    expect((await engine.docker(later)).stdout).toBe('later\n');
    const info = await engine.api<{ CDISpecDirs: string[]; DiscoveredDevices: object[] }>('GET', '/info');
    expect(info.body).toMatchObject({
      CDISpecDirs: folders,
      DiscoveredDevices: ['one', 'two'].map((name) => ({ Source: 'cdi', ID: `vendor.com/device=${name}` })),
    });
    rmSync(join(etc, 'vendor.yaml'));
    rmSync(join(run, 'vendor.json'));
    expect((await engine.docker(['start', 'has'], { expect: 1 })).stderr).toContain('unresolvable CDI devices');
    // Our own command line asks for the same.
    write(etc, 'v.json', spec('vendor.com/device', { one: { env: ['ONE=ours'] } }));
    const ours = await engine.tare([
      'run',
      '--rm',
      '--device',
      'vendor.com/device=one',
      busybox,
      'sh',
      '-c',
      'echo $ONE',
    ]);
    expect(ours.stdout).toBe('ours\n');
  });

  test('CDI: what others than the administrator could have written is not used', async () => {
    const { engine, folders } = await withFolders();
    await using _engine = engine;
    const [etc, run] = folders;
    const refused = async (name: string) =>
      (await engine.docker(['run', '--rm', '--device', name, busybox, 'true'], { expect: 125 })).stderr;
    const good = spec('vendor.com/device', { x: { env: ['A=1'] } });
    write(etc, 'open.json', good, 0o666);
    expect(await refused('vendor.com/device=x')).toMatch(/open\.json can be written by others/);
    rmSync(join(etc, 'open.json'));
    write(etc, 'foreign.json', good);
    chownSync(join(etc, 'foreign.json'), 1000, 1000);
    expect(await refused('vendor.com/device=x')).toMatch(/foreign\.json belongs to user 1000/);
    rmSync(join(etc, 'foreign.json'));
    write(etc, 'a.json', good);
    write(etc, 'b.json', good);
    expect(await refused('vendor.com/device=x')).toContain('vendor.com/device=x is described twice');
    rmSync(join(etc, 'b.json'));
    write(etc, 'broken.json', '{');
    write(etc, 'odd.json', { ...good, kind: 'vendor.com/odd', secret: 1 });
    const { stdout } = await engine.docker([
      'run',
      '--rm',
      '--device',
      'vendor.com/device=x',
      busybox,
      'sh',
      '-c',
      'echo $A',
    ]);
    expect(stdout).toBe('1\n');
    expect(await refused('vendor.com/odd=x')).toContain('the document has "secret"');
    write(run, 'gone.json', spec('vendor.com/gone', { x: { deviceNodes: [{ path: '/dev/gone' }] } }));
    expect(await refused('vendor.com/gone=x')).toContain('/dev/gone is not a device node');
    expect((await engine.docker(['ps', '-aq'])).stdout).toBe('');
  });

  test('--gpus means the devices of nvidia’s kind, and is refused where there is none', async () => {
    const { engine, folders } = await withFolders();
    await using _engine = engine;
    const gpus = (value: string, code = 0) =>
      engine.docker(['run', '--rm', '--gpus', value, busybox, 'sh', '-c', 'env | grep ^GPU | sort | tr "\\n" " "'], {
        expect: code,
      });
    const text = 'could not select device driver "" with capabilities: [[gpu]]';
    expect((await gpus('all', 125)).stderr).toContain(text);
    expect((await engine.tare(['run', '--gpus', 'all', busybox, 'true'], { expect: 125 })).stderr).toContain(text);
    const devices = Object.fromEntries(['0', '1', 'all'].map((name) => [name, { env: [`GPU_${name}=1`] }]));
    write(folders[0], 'nvidia.json', spec('nvidia.com/gpu', devices));
    expect((await gpus('all')).stdout).toBe('GPU_all=1 ');
    expect((await gpus('1')).stdout).toBe('GPU_0=1 ');
    expect((await gpus('2')).stdout).toBe('GPU_0=1 GPU_1=1 ');
    expect((await gpus('device=1')).stdout).toBe('GPU_1=1 ');
    expect((await gpus('3', 125)).stderr).toContain('3 GPUs were asked for, and this host has 2');
    expect((await gpus('device=7', 125)).stderr).toContain('unresolvable CDI devices nvidia.com/gpu=7');
    expect((await gpus('all,driver=amd', 125)).stderr).toContain('could not select device driver "amd"');
    const { stdout } = await engine.tare([
      'run',
      '--rm',
      '--gpus',
      '"device=0,1"',
      busybox,
      'sh',
      '-c',
      'env | grep -c ^GPU',
    ]);
    expect(stdout).toBe('2\n');
    const both = await engine.api<{ message: string }>('POST', '/containers/create', {
      Image: busybox,
      HostConfig: { DeviceRequests: [{ Count: 1, DeviceIDs: ['0'], Capabilities: [['gpu']] }] },
    });
    expect(both).toMatchObject({
      status: 400,
      body: { message: 'cannot set both Count and DeviceIDs on device request' },
    });
  });
});
