import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Buildx, buildxVersions, isSleeping, longSleep } from '../support/buildx.ts';
import { shows } from '../support/compatibility.ts';
import { exitOf } from '../support/compose.ts';
import { eventually, execute } from '../support/execute.ts';
import { withEngine } from '../support/faces.ts';
import { busyboxImage } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';

describe('buildx and the builder', { ...shows({ client: 'docker buildx' }), timeout: 120_000 }, () => {
  const engine = withEngine();
  const stack = new AsyncDisposableStack();
  let registry: TestRegistry;
  const docker = async (...args: string[]): Promise<string> => (await engine().docker(args)).stdout.trim();
  const inImage = (image: string, command: string) =>
    docker('run', '--rm', '--network=none', image, 'sh', '-c', command);
  /** Runs until the tests end. */
  const server = (argv: readonly string[], env?: Record<string, string>) => {
    const child = engine().spawn(argv, env);
    stack.defer(() => void child.kill('SIGKILL'));
    return child;
  };

  beforeAll(async () => {
    registry = stack.use(await startRegistry());
    stack.use(await tunnel(engine(), registry.port));
    await registry.seed('busybox', 'latest', { layers: [readFileSync(busyboxImage().rootfs)] });
  });
  afterAll(() => stack.disposeAsync());

  describe.each(Object.keys(buildxVersions) as (keyof typeof buildxVersions)[])('%s', (version) => {
    let buildx: Buildx;
    beforeAll(() => {
      buildx = new Buildx(engine(), version);
    });

    test(`${version}: an image, with arguments, labels, a target and several names; its ids in files`, async () => {
      const folder = buildx.folder({
        Dockerfile: `FROM busybox:test AS first
ARG WORD=none
RUN echo $WORD > /word
FROM first AS second
RUN echo never > /never
`,
      });
      const files = ['--metadata-file', join(folder, 'metadata'), '--iidfile', join(folder, 'id')];
      const names = ['-t', `one:${version}`, '-t', `two:${version}`];
      const wanted = ['--build-arg', 'WORD=hello', '--label', 'a=b', '--target', 'first'];
      await buildx.build([...wanted, ...names, ...files, folder]);
      expect(await inImage(`two:${version}`, 'cat /word; test ! -e /never')).toBe('hello');
      const id = readFileSync(join(folder, 'id'), 'utf8');
      expect(await docker('inspect', '-f', '{{.Id}} {{.Config.Labels.a}}', `one:${version}`)).toBe(`${id} b`);
      const metadata = JSON.parse(readFileSync(join(folder, 'metadata'), 'utf8'));
      expect(metadata).toMatchObject({
        'containerimage.config.digest': id,
        'image.name': `one:${version},two:${version}`,
      });
    });

    test(`${version}: secrets of a file and of the environment, and an agent's keys`, async () => {
      const folder = buildx.folder({
        // The log shows what was read, not what is kept.
        Dockerfile: `FROM busybox:test
RUN --mount=type=secret,id=file wc -c < /run/secrets/file
RUN --mount=type=secret,id=variable,env=VALUE echo "$\{#VALUE} characters"
RUN --mount=type=ssh,required test -S $SSH_AUTH_SOCK && echo an agent
`,
        secret: 'of a file',
      });
      const agent = join(folder, 'agent.sock');
      server(['ssh-agent', '-D', '-a', agent]);
      await eventually('the agent listens', () => existsSync(agent));
      const secrets = ['--secret', `id=file,src=${join(folder, 'secret')}`, '--secret', 'id=variable,env=OF_SHELL'];
      const how = ['--no-cache', '--ssh', 'default', ...secrets, folder];
      const { stderr } = await buildx.build(how, { env: { OF_SHELL: 'twelve chars', SSH_AUTH_SOCK: agent } });
      expect(stderr).toMatch(/ 9\n.*12 characters\n.*an agent\n/s);
      const missing = await buildx.build(['--no-cache', folder], { expect: 1 });
      expect(missing.stderr).toMatch(/\/run\/secrets\/file: |secret file: not found/);
    });

    test(`${version}: a failing step's output, its line and its exit code`, async () => {
      const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo before && exit 7\nRUN true\n' });
      const { stderr } = await buildx.build([folder], { expect: 1 });
      expect(stderr).toMatch(/------\n > \[2\/3\] RUN echo before && exit 7:\n[\d.]+ before\n------\n/);
      expect(stderr).toContain('   2 | >>> RUN echo before && exit 7\n');
      const failure = 'process "/bin/sh -c echo before && exit 7" did not complete successfully: exit code: 7';
      expect(stderr).toContain(`failed to solve: ${failure}`);
    });
  });

  describe('with 0.29', () => {
    let buildx: Buildx;
    let folder: string;
    beforeAll(() => {
      buildx = new Buildx(engine());
      folder = buildx.folder({ Dockerfile: 'FROM scratch\nCOPY f /d/f\n', f: 'content\n', '.dockerignore': 'none\n' });
    });

    test('results at the client: a folder, a tar, archives of docker and OCI, several at once', async () => {
      const out = (name: string) => join(folder, 'none', name);
      mkdirSync(out(''));
      const outputs = ['type=tar,dest=', 'type=oci,dest=', 'type=docker,dest='].map(
        (one, at) => one + out(`${at}.tar`),
      );
      await buildx.build([...outputs.flatMap((one) => ['-o', one]), '-o', out('folder'), '-t', 'archived:1', folder]);
      expect(readFileSync(out('folder/d/f'), 'utf8')).toBe('content\n');
      const names = await Promise.all(
        outputs.map(async (_, at) => (await execute(['tar', '-tf', out(`${at}.tar`)])).stdout),
      );
      expect(names).toEqual([
        expect.stringContaining('d/f\n'),
        expect.stringContaining('oci-layout\n'),
        expect.stringContaining('manifest.json\n'),
      ]);
      await buildx.build(['-o', `type=oci,tar=false,dest=${out('layout')}`, folder]);
      expect(existsSync(out('layout/index.json'))).toBe(true);
      await buildx.build(['-o', 'type=cacheonly', folder]);
      await engine().docker(['load', '--quiet', '--input', out('2.tar')]);
      expect(await docker('images', '-q', 'archived:1')).not.toBe('');
    });

    test('images pushed, with annotations; imagetools show them and join them', async () => {
      const at = `${registry.address}/pushed`;
      await buildx.build(['--push', '-t', `${at}:1`, '-t', `${at}:2`, '--annotation', 'index,manifest:a=b', folder]);
      const raw = JSON.parse((await buildx.run(['imagetools', 'inspect', '--raw', `${at}:2`])).stdout);
      expect(raw.annotations).toEqual({ a: 'b' });
      await buildx.run(['imagetools', 'create', '-t', `${at}:both`, `${at}:1`, `${registry.address}/busybox`]);
      expect((await buildx.run(['imagetools', 'inspect', `${at}:both`])).stdout).toMatch(/Platform: .*linux\//);
      await buildx.build(['-o', `type=image,name=${at}:3,push=true`, '--provenance=false', folder]);
      expect(JSON.parse((await buildx.run(['imagetools', 'inspect', '--raw', `${at}:3`])).stdout).layers).toHaveLength(
        1,
      );
    });

    test('contexts: an archive or a Dockerfile on standard input, a repository, an archive by HTTP', async () => {
      const dockerfile = 'FROM busybox:test\nRUN --mount=target=/c echo $(ls /c)\n';
      const files = buildx.folder({ Dockerfile: dockerfile, kept: '', ignored: '', '.dockerignore': 'ignored\n' });
      const archive = (await execute(['tar', '-c', '-C', files, '.'])).bytes;
      expect((await buildx.build(['--no-cache', '-'], { input: archive })).stderr).toContain(
        ' Dockerfile ignored kept\n',
      );
      const given = await buildx.build(['--no-cache', '-f', '-', files], {
        input: dockerfile.replace('echo', 'echo given'),
      });
      expect(given.stderr).toContain(' given Dockerfile kept\n');
      await buildx.build(['-'], { input: 'FROM busybox:test\nRUN true\n' });
      const served = buildx.folder({ 'x/Dockerfile': dockerfile, 'x/sub': '' });
      const git = ['git', '-c', 'user.name=n', '-c', 'user.email=e@x', '-C', join(served, 'x')];
      for (const words of ['init -q -b main', 'add -A', 'commit -qm m', 'tag v1'])
        await execute([...git, ...words.split(' ')]);
      await execute(['tar', '-czf', join(served, 'c.tgz'), '-C', files, '.']);
      const port = { git: '19418', http: '18099' };
      server([
        'git',
        'daemon',
        '--listen=127.0.0.1',
        `--port=${port.git}`,
        `--base-path=${served}`,
        '--export-all',
        served,
      ]);
      server(['busybox', 'httpd', '-f', '-p', `127.0.0.1:${port.http}`, '-h', served]);
      const repository = `git://127.0.0.1:${port.git}/x/.git`;
      await eventually(
        'git answers',
        async () => (await engine().run(['git', 'ls-remote', repository], { expect: 'any' })).code === 0,
      );
      expect((await buildx.build(['--no-cache', `${repository}#v1`])).stderr).toContain(' Dockerfile sub\n');
      expect((await buildx.build(['--no-cache', `${repository}?ref=main`])).stderr).toContain(' Dockerfile sub\n');
      const { stderr: missing } = await buildx.build([`${repository}#v2`], { expect: 1 });
      expect(missing).toMatch(/failed to read dockerfile: .*: repository does not contain ref v2/);
      const archived = `http://127.0.0.1:${port.http}/c.tgz`;
      expect((await buildx.build(['--no-cache', archived])).stderr).toContain(' Dockerfile ignored kept\n');
      const mixed = buildx.folder({
        Dockerfile: `FROM base
COPY --from=repository Dockerfile /a
COPY --from=other f /b
RUN --mount=from=web,target=/web cat /a /b /web/context | grep -c RUN
`,
      });
      const layout = `oci-layout://${busyboxImage().folder}@${JSON.parse(readFileSync(join(busyboxImage().folder, 'index.json'), 'utf8')).manifests[0].digest}`;
      const named = { repository, other: folder, web: `http://127.0.0.1:${port.http}/x/Dockerfile` };
      for (const base of [layout, `docker-image://${registry.address}/busybox`]) {
        const contexts = Object.entries({ base, ...named }).flatMap((one) => ['--build-context', one.join('=')]);
        expect((await buildx.build(['--no-cache', ...contexts, mixed])).stderr).toMatch(/#\d+ [\d.]+ 2\n/);
      }
    });

    test('what its flags give to steps: hosts, limits, networks, privileges', async () => {
      const steps = buildx.folder({
        Dockerfile: `# syntax=docker/dockerfile:1-labs
FROM busybox:test AS plain
RUN cat /etc/hosts; ulimit -n; df -k /dev/shm | tail -1; cat /proc/self/cgroup; ls /sys/class/net
FROM plain AS insecure
RUN --security=insecure grep CapEff /proc/self/status
`,
      });
      const all = ['--add-host', 'one:192.0.2.7', '--add-host', 'self=host-gateway', '--ulimit', 'nofile=99:100'];
      const limits = ['--shm-size', '32m', '--cgroup-parent', `/${engine().instance}/given`, '--network', 'none'];
      const { stderr } = await buildx.build([...all, ...limits, '--target', 'plain', steps]);
      expect(stderr).toMatch(/192\.0\.2\.7\s+one/);
      expect(stderr).toMatch(/172\.\d+\.\d+\.1\s+self/);
      expect(stderr).toMatch(/ 99\n.*tmpfs +32768 .*\/given\/.* lo\n/s);
      expect(stderr).not.toContain('eth0');
      const host = await buildx.build(['--network', 'host', '--target', 'plain', steps]);
      expect(host.stderr).not.toMatch(/#\d+ [\d.]+ eth0/);
      const refused = await buildx.build([steps], { expect: 1 });
      expect(refused.stderr).toContain('security.insecure is not allowed');
      expect((await buildx.build(['--allow', 'security.insecure', steps])).stderr).toMatch(/CapEff:\s+[0-9a-f]*fffff/);
    });

    test('the cache: what is made again is what was asked for', async () => {
      const stages = buildx.folder({
        Dockerfile: `FROM ${registry.address}/busybox AS a\nRUN echo made-a\nFROM a AS b\nRUN echo made-b\n`,
      });
      const ran = async (...args: string[]) =>
        [...(await buildx.build([...args, stages])).stderr.matchAll(/^#\d+ [\d.]+ made-(\w)$/gm)].map(
          ([, name]) => name,
        );
      expect(await ran()).toEqual(['a', 'b']);
      expect(await ran('--pull')).toEqual([]);
      expect(await ran('--no-cache-filter', 'b')).toEqual(['b']);
      expect(await ran('--no-cache')).toEqual(['a', 'b']);
    });

    test('questions instead of a build, and every kind of progress', async () => {
      const asked = buildx.folder({ Dockerfile: 'from busybox:test AS one\nARG A=1\nRUN true\n' });
      const check = await buildx.run(['build', '--check', asked], { expect: 1 });
      expect(check.stdout).toContain('ConsistentInstructionCasing');
      expect((await buildx.run(['build', '--call', 'outline', asked])).stdout).toMatch(/BUILD ARG +VALUE.*\nA +1/);
      expect((await buildx.run(['build', '--call', 'targets', asked])).stdout).toContain('one (default)');
      const json = (await buildx.run(['build', '--progress', 'rawjson', asked])).stderr.trim().split('\n');
      expect(json.flatMap((line) => JSON.parse(line).vertexes ?? []).map(({ name }) => name)).toContain(
        '[2/2] RUN true',
      );
      expect((await buildx.run(['build', '--progress', 'quiet', asked])).stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
      expect((await engine().docker(['build', '--quiet', asked])).stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
      const terminal = ['script', '-qec', `${buildx.program} build --progress tty ${asked}`, '/dev/null'];
      expect((await engine().run(terminal, { env: buildx.environment })).stdout).toContain('=> CACHED [2/2] RUN true');
    });

    test('source policies: denied, allowed, and another image in the place of one', async () => {
      const wanted = buildx.folder({ Dockerfile: `FROM nothing:test\nRUN echo converted\n` });
      const policy = async (rules: object[], expect = 0) => {
        const file = join(buildx.folder({ policy: JSON.stringify({ rules }) }), 'policy');
        return await buildx.build([wanted], { env: { EXPERIMENTAL_BUILDKIT_SOURCE_POLICY: file }, expect });
      };
      const convert = {
        action: 'CONVERT',
        selector: { identifier: 'docker-image://docker.io/library/nothing:*' },
        updates: { identifier: `docker-image://docker.io/library/busybox:$\{1}` },
      };
      expect((await policy([convert])).stderr).toContain('converted');
      const deny = { action: 'DENY', selector: { identifier: 'docker-image://*' } };
      const { stderr } = await policy([convert, deny], 1);
      expect(stderr).toContain('source denied by policy: "docker-image://docker.io/library/busybox:test');
      const allow = { action: 'ALLOW', selector: { identifier: '/busybox:test(@.*)?$', match_type: 'REGEX' } };
      await policy([convert, deny, allow]);
    });

    test('a builder is listed, and its cache; prune empties it', async () => {
      const inspected = (await buildx.run(['inspect'])).stdout;
      for (const line of [/Status: +running/, /Platforms: +linux\//, /GC Policy rule#0:/, /host-gateway-ip: +172\./])
        expect(inspected).toMatch(line);
      expect((await buildx.run(['ls'])).stdout).toMatch(/default +running/);
      expect((await buildx.run(['du'])).stdout).toMatch(/Total:/);
      await buildx.run(['prune', '--all', '--force']);
      expect((await buildx.run(['du', '--format', '{{.ID}}'])).stdout).toBe('');
    });

    test('a client that dies ends its build', async () => {
      const slow = buildx.folder({ Dockerfile: `FROM busybox:test\nRUN ${longSleep}\n` });
      const child = engine().spawn([buildx.program, 'build', '--progress', 'plain', slow], buildx.environment);
      await eventually('the step runs', isSleeping, 60_000);
      child.kill('SIGKILL');
      await exitOf(child);
      await eventually('nothing of it is left', async () => !(await isSleeping()), 60_000);
    });
  });

  test('the remote driver, over a socket of BuildKit’s own', async () => {
    const socket = join(engine().execRoot, 'buildkitd.sock');
    const plain = new Buildx(engine());
    await plain.run(['create', '--name', 'remote', '--driver', 'remote', `unix://${socket}`]);
    for (const version of Object.keys(buildxVersions) as (keyof typeof buildxVersions)[]) {
      const buildx = new Buildx(engine(), version, 'remote');
      const folder = buildx.folder({ Dockerfile: 'FROM busybox:test\nRUN echo remote > /f\n' });
      await buildx.build(['--load', '-t', `remote:${version}`, folder]);
      expect(await inImage(`remote:${version}`, 'cat /f')).toBe('remote');
    }
  });
});
