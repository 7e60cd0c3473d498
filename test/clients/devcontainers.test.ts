import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { project } from '../support/built.ts';
import { shows } from '../support/compatibility.ts';
import { patiently } from '../support/compose.ts';
import { seedDebianImage } from '../support/debian-images.ts';
import { dockerClient, TestEngine } from '../support/engine.ts';
import type { ExecuteOptions } from '../support/execute.ts';
import { startRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';

const program = join(project, 'node_modules/@devcontainers/cli/devcontainer.js');
/** Of the user `app` in the image. */
const APP_ID = 1000;
/**
 * The command line begins `docker events` and then `docker run`, and waits for the start in what the former prints. On a busy machine
 * the former may connect after the container has started, and it waits for ever, with every engine: so `events` is asked for all that
 * happened since the command began.
 */
const eventsSinceBegin = `#!/bin/sh
[ "$1" != events ] || { shift; set -- events --since "$BEGUN" "$@"; }
exec ${join(dockerClient, 'usr/bin/docker')} "$@"
`;
/** Stands for the image's name, which is known when its registry is. */
const image_ = 'IMAGE';
/** As a devcontainer.json asks for it. */
const variable = (name: string): string => `\${${name}}`;

describe('@devcontainers/cli', { ...shows({ client: '@devcontainers/cli' }), timeout: 240_000 }, () => {
  let engine: TestEngine;
  let image: string;
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    const registry = stack.use(await startRegistry());
    image = `${registry.address}/devcontainers/debian:1`;
    // What an image for dev containers says of itself, in its label.
    const metadata = [{ containerEnv: { FROM_IMAGE: 'said' }, remoteUser: 'app' }];
    await seedDebianImage(registry, 'devcontainers/debian:1', {
      layers: ['base'],
      files: [
        { path: 'etc/os-release', content: 'ID=debian\nVERSION_ID="12"\n' },
        { path: 'srv', type: 'directory', uid: APP_ID, gid: APP_ID },
      ],
      config: { Labels: { 'devcontainer.metadata': JSON.stringify(metadata) } },
    });
    engine = stack.use(await TestEngine.start({ image: false }));
    stack.use(await tunnel(engine, registry.port));
    mkdirSync(join(engine.root, 'bin'));
    writeFileSync(join(engine.root, 'bin/docker'), eventsSinceBegin);
    chmodSync(join(engine.root, 'bin/docker'), 0o755);
  });
  afterAll(() => stack.disposeAsync());

  const docker = async (...args: string[]): Promise<string> => (await engine.docker(args)).stdout.trim();

  /** A folder to work in, with its devcontainer.json and more files beside that one. */
  const workspace = (name: string, configuration: object, files: Record<string, string> = {}): string => {
    const folder = join(engine.root, name);
    mkdirSync(join(folder, '.devcontainer'), { recursive: true });
    chownSync(folder, APP_ID, APP_ID);
    const all = { ...files, 'devcontainer.json': JSON.stringify(configuration) };
    for (const [file, content] of Object.entries(all)) {
      const path = join(folder, '.devcontainer', file);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
    return folder;
  };
  const cli = (command: string, folder: string, args: readonly string[] = [], options: ExecuteOptions = {}) =>
    engine.run([process.execPath, program, command, '--workspace-folder', folder, ...args], {
      timeoutMs: 120_000,
      ...options,
      env: {
        ...engine.clientEnvironment,
        PATH: `${join(engine.root, 'bin')}:${join(dockerClient, 'usr/bin')}:${process.env['PATH']}`,
        HOME: engine.root,
        TMPDIR: engine.root,
        BEGUN: String(Date.now() / 1000),
        ...options.env,
      },
    });
  /** The last line that a command prints. */
  const answer = async (...args: Parameters<typeof cli>): Promise<Record<string, unknown>> =>
    JSON.parse((await cli(...args)).stdout.trim().split('\n').at(-1)!) as Record<string, unknown>;
  const inside = async (folder: string, script: string): Promise<string> =>
    (await cli('exec', folder, ['sh', '-c', script])).stdout.trim();

  describe('from an image', () => {
    let folder: string;
    let id: string;
    beforeAll(() => {
      folder = workspace('imaged', {
        name: 'imaged',
        image,
        updateRemoteUserUID: false,
        containerEnv: { FROM_CONFIGURATION: 'spoken' },
        remoteEnv: { REMOTE: `${variable('containerEnv:FROM_IMAGE')} there` },
        mounts: [
          'source=dev-cache,target=/cache,type=volume',
          { source: `${variable('localWorkspaceFolder')}/.devcontainer`, target: '/configured', type: 'bind' },
        ],
        runArgs: ['--hostname', 'imaged', '--memory', '256m'],
        capAdd: ['SYS_PTRACE'],
        init: true,
        forwardPorts: [8000],
        appPort: ['127.0.0.1:18000:8000'],
        initializeCommand: 'echo of the host > initialized',
        onCreateCommand: 'echo created >> told',
        updateContentCommand: ['sh', '-c', 'echo updated >> told'],
        postCreateCommand: { one: 'echo one > one', two: 'echo two > two' },
        postStartCommand: 'echo started >> told',
        postAttachCommand: 'echo attached >> told',
      });
    });

    test('up pulls the image and runs the container with its user, mounts, limits, ports and commands', async () => {
      const up = await answer('up', folder);
      id = String(up['containerId']);
      expect(up).toMatchObject({
        ...{ outcome: 'success', remoteUser: 'app', remoteWorkspaceFolder: '/workspaces/imaged' },
      });
      const told = (name: string): string => readFileSync(join(folder, name), 'utf8');
      expect(told('initialized')).toBe('of the host\n');
      // What comes after the creation goes on while `up` ends.
      await patiently('all commands ran', () => existsSync(join(folder, 'told')) && told('told').includes('attached'));
      expect(told('told')).toBe('created\nupdated\nstarted\nattached\n');
      expect([told('one'), told('two')]).toEqual(['one\n', 'two\n']);
      const [inspected] = JSON.parse(await docker('inspect', id)) as {
        Config: { Hostname: string; Labels: Record<string, string> };
        HostConfig: { Memory: number; CapAdd: string[]; Init: boolean; PortBindings: object };
        Mounts: { Type: string; Destination: string }[];
      }[];
      expect(inspected).toMatchObject({
        Config: { Hostname: 'imaged', Labels: { 'devcontainer.local_folder': folder } },
        HostConfig: { Memory: 256 << 20, Init: true },
      });
      expect(inspected!.HostConfig.CapAdd.map((name) => name.replace(/^CAP_/, ''))).toEqual(['SYS_PTRACE']);
      expect(inspected!.Mounts.map(({ Type, Destination }) => `${Type} ${Destination}`).sort()).toEqual([
        'bind /configured',
        'bind /workspaces/imaged',
        'volume /cache',
      ]);
    });

    test('exec: user, folder, both environments, exit code, standard input', async () => {
      const said = 'echo $(id -un) $(pwd) $FROM_IMAGE $FROM_CONFIGURATION $REMOTE';
      expect(await inside(folder, said)).toBe('app /workspaces/imaged said spoken said there');
      expect(await inside(folder, 'ls /configured')).toBe('devcontainer.json');
      await cli('exec', folder, ['sh', '-c', 'exit 9'], { expect: 9 });
      expect((await cli('exec', folder, ['cat'], { input: 'to and fro' })).stdout).toBe('to and fro');
      const remote = await cli('exec', folder, ['--remote-env', 'MORE=given', 'sh', '-c', 'echo $MORE']);
      expect(remote.stdout.trim()).toBe('given');
    });

    test('its port answers on this machine', async () => {
      await inside(folder, 'echo served > index.html; httpd -p 8000 -h /workspaces/imaged');
      const { stdout } = await engine.run(['curl', '--silent', '--fail', 'http://127.0.0.1:18000/']);
      expect(stdout).toBe('served\n');
    });

    test('read-configuration finds the container and merges what the image says', async () => {
      const read = await answer('read-configuration', folder, ['--include-merged-configuration']);
      expect(read).toMatchObject({
        configuration: { name: 'imaged', image, forwardPorts: [8000] },
        workspace: { workspaceFolder: '/workspaces/imaged' },
        mergedConfiguration: {
          remoteUser: 'app',
          containerEnv: { FROM_IMAGE: 'said', FROM_CONFIGURATION: 'spoken' },
          postCreateCommands: [{ one: 'echo one > one', two: 'echo two > two' }],
        },
      });
    });

    test('up finds its container, starts it again when it was stopped, and makes another when asked', async () => {
      expect((await answer('up', folder))['containerId']).toBe(id);
      await docker('stop', '--time', '1', id);
      expect((await answer('up', folder, ['--expect-existing-container']))['containerId']).toBe(id);
      await patiently('it was told', () => readFileSync(join(folder, 'told'), 'utf8').split('started').length === 3);
      // The commands of the creation do not run again.
      expect(readFileSync(join(folder, 'told'), 'utf8').split('created').length).toBe(2);
      const other = (await answer('up', folder, ['--remove-existing-container']))['containerId'];
      expect(other).not.toBe(id);
      expect(await docker('ps', '--all', '--quiet', '--no-trunc')).toBe(other);
      await docker('rm', '--force', String(other));
    });

    test('set-up and run-user-commands on a container that runs already', async () => {
      const container = await docker('run', '--detach', '--init', '--name', 'plain', image, 'sleep', '1000');
      const configuration = join(folder, 'set-up.json');
      writeFileSync(configuration, JSON.stringify({ postCreateCommand: 'echo set up > /srv/set-up' }));
      const argv = [process.execPath, program, 'set-up', '--container-id', container, '--config', configuration];
      const env = { ...engine.clientEnvironment, HOME: engine.root, TMPDIR: engine.root };
      const path = `${join(dockerClient, 'usr/bin')}:${process.env['PATH']}`;
      await engine.run(argv, { env: { ...env, PATH: path } });
      expect(await docker('exec', 'plain', 'cat', '/srv/set-up')).toBe('set up');
      await cli('run-user-commands', folder, ['--container-id', container, '--skip-post-attach']);
      await docker('rm', '--force', 'plain');
    });
  });

  test('from a compose file: its service, the others beside it, exec, and up again', async () => {
    const services = {
      app: { image, command: ['sleep', '1000'], init: true, volumes: ['..:/work:cached'], depends_on: ['store'] },
      store: {
        image,
        command: ['sh', '-c', 'mkdir /tmp/web; echo stored > /tmp/web/index.html; exec httpd -f -h /tmp/web'],
      },
      other: { image, command: ['sleep', '1000'], init: true },
    };
    const folder = workspace(
      'composed',
      {
        name: 'composed',
        dockerComposeFile: ['compose.yaml', 'more.yaml'],
        service: 'app',
        runServices: ['app', 'store'],
        workspaceFolder: '/work',
        updateRemoteUserUID: false,
        remoteUser: 'app',
        containerEnv: { FROM_CONFIGURATION: 'spoken' },
        mounts: ['source=composed-cache,target=/cache,type=volume'],
        postCreateCommand: 'echo created > made',
        shutdownAction: 'stopCompose',
      },
      {
        'compose.yaml': JSON.stringify({ services }),
        'more.yaml': JSON.stringify({ services: { app: { environment: { MORE: 'merged' } } } }),
      },
    );
    const up = await answer('up', folder);
    expect(up).toMatchObject({ outcome: 'success', remoteUser: 'app', remoteWorkspaceFolder: '/work' });
    const composeProject = String(up['composeProjectName']);
    expect(readFileSync(join(folder, 'made'), 'utf8')).toBe('created\n');
    const said = 'echo $(id -un) $(pwd) $FROM_IMAGE $FROM_CONFIGURATION $MORE; touch /work/touched';
    expect(await inside(folder, said)).toBe('app /work said spoken merged');
    expect(await inside(folder, 'wget -q -O - http://store/')).toBe('stored');
    const label = `label=com.docker.compose.project=${composeProject}`;
    const running = await docker('ps', '--filter', label, '--format', '{{.Label "com.docker.compose.service"}}');
    expect(running.split('\n').sort()).toEqual(['app', 'store']);
    expect((await answer('up', folder))['containerId']).toBe(up['containerId']);
    await docker('compose', '--project-name', composeProject, 'down', '--volumes', '--timeout', '1');
    expect(await docker('ps', '--all', '--quiet')).toBe('');
  });

  describe('built', () => {
    /** Says a word of its option, and adds a program. */
    const feature = {
      'greeter/devcontainer-feature.json': JSON.stringify({
        ...{ id: 'greeter', version: '1.0.0', name: 'Greets' },
        options: { word: { type: 'string', default: 'hello' } },
        containerEnv: { FROM_FEATURE: 'installed' },
      }),
      'greeter/install.sh': `#!/bin/sh\nset -e\nprintf '#!/bin/sh\\necho %s of %s\\n' "$WORD" "$_REMOTE_USER" > /bin/greet\nchmod 755 /bin/greet\n`,
    };
    const dockerfile = `# syntax=docker/dockerfile:1
FROM ${image_} AS first
ARG WORD=none
COPY --chmod=644 taken /srv/taken
RUN echo said $WORD > /srv/said
FROM first
RUN exit 1
`;
    test.each([
      { how: 'with BuildKit', args: [], buildkit: '1' },
      // Docker's client of today takes BuildKit unless it is told twice.
      { how: 'by the classic builder', args: ['--buildkit', 'never'], buildkit: '0' },
    ])(
      'up builds a Dockerfile with arguments and a target, and adds a local feature: $how',
      async ({ how, args, buildkit }) => {
        const name = `built-${how.split(' ')[0]}`;
        const build = { dockerfile: 'Dockerfile', context: '.', target: 'first', args: { WORD: how } };
        const configuration = { name, build, features: { './greeter': { word: 'welcome' } }, remoteUser: 'app' };
        const folder = workspace(
          name,
          { ...configuration, containerEnv: { FROM_CONFIGURATION: 'spoken' } },
          { ...feature, Dockerfile: dockerfile.replaceAll(image_, image), taken: 'taken\n' },
        );
        const up = await answer('up', folder, args, { env: { DOCKER_BUILDKIT: buildkit } });
        expect(up).toMatchObject({ outcome: 'success', remoteUser: 'app' });
        const said = 'cat /srv/said /srv/taken; greet; echo $FROM_FEATURE $FROM_CONFIGURATION $(id -u)';
        expect(await inside(folder, said)).toBe(`said ${how}\ntaken\nwelcome of app\ninstalled spoken ${APP_ID}`);
        const metadata = '{{index .Config.Labels "devcontainer.metadata"}}';
        expect(await docker('inspect', '--format', metadata, String(up['containerId']))).toContain('greeter');
        expect((await answer('up', folder, args))['containerId']).toBe(up['containerId']);
        await docker('rm', '--force', String(up['containerId']));
      },
    );

    test('build makes an image with a name, and tells of a command that fails', async () => {
      const files = { ...feature, Dockerfile: dockerfile.replaceAll(image_, image), taken: '' };
      const folder = workspace(
        'named',
        { build: { dockerfile: 'Dockerfile', target: 'first' }, features: { './greeter': {} } },
        files,
      );
      const built = await answer('build', folder, ['--image-name', 'devcontainers/named:1']);
      expect(built).toMatchObject({ outcome: 'success', imageName: ['devcontainers/named:1'] });
      expect(await docker('run', '--rm', 'devcontainers/named:1', 'greet')).toMatch(/^hello of/);
      const failing = workspace('unbuilt', { build: { dockerfile: 'Dockerfile' } }, files);
      expect(await answer('build', failing, [], { expect: 1 })).toMatchObject({ outcome: 'error' });
    });
  });

  test('what goes wrong is told: no image, and a command that fails', async () => {
    const absent = workspace('absent', { image: `${image}-absent`, updateRemoteUserUID: false });
    const refused = await answer('up', absent, [], { expect: 1 });
    expect(refused).toMatchObject({ outcome: 'error' });
    const failing = workspace('failing', { image, updateRemoteUserUID: false, postCreateCommand: 'exit 3' });
    const failed = await answer('up', failing, [], { expect: 1 });
    expect(failed).toMatchObject({ outcome: 'error', message: 'Command failed: /bin/sh -c exit 3' });
    await docker('rm', '--force', String(failed['containerId']));
  });
});
