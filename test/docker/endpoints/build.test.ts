import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { shows } from '../../support/compatibility.ts';
import { eventually } from '../../support/execute.ts';
import { withEngine } from '../../support/faces.ts';
import { busybox } from '../../support/image.ts';
import { running } from '../../support/running.ts';
import { type TarEntry, tar } from '../../support/tar.ts';
import { Caller, type CallOptions } from './caller.ts';

const file = (path: string, content: string): TarEntry => ({ path, content });
/** Ids of images, of what stands between instructions, and of containers. */
const masked = (text: string): string => text.replace(/\b[0-9a-f]{12}\b/g, 'ID');

describe('building', { ...shows({ endpoints: ['POST /build'] }), timeout: 60_000 }, () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);

  const post = (dockerfile: string | undefined, options: CallOptions & { files?: TarEntry[] } = {}) => {
    const { files = [], ...rest } = options;
    const entries = [...(dockerfile === undefined ? [] : [file('Dockerfile', dockerfile)]), ...files];
    return api.call('POST /build', {
      body: tar(entries),
      ...rest,
      headers: { 'content-type': 'application/x-tar', ...rest.headers },
    });
  };
  /** What a build says, with its ids masked; an error as the last line. */
  const said = async (...args: Parameters<typeof post>): Promise<string> => {
    const { lines } = await post(...args);
    const text = lines.map(({ stream = '', error }) => (error === undefined ? stream : `ERROR ${String(error)}`));
    return masked(text.join(''));
  };
  const inspect = async (name: string) =>
    JSON.parse((await engine().docker(['inspect', name])).stdout)[0] as {
      Id: string;
      Config: Record<string, unknown>;
      RepoTags: string[];
    };

  test('the stream is that of docker’s classic builder, line by line', async () => {
    const dockerfile = `FROM ${busybox}\nARG A=1\nRUN echo "hi $A"; echo no >&2\nCOPY a /a\nCMD ["sh"]\n`;
    const options = { query: { t: 'one:1', buildargs: { A: '2' } }, files: [file('a', 'x')] };
    const { lines } = await post(dockerfile, options);
    const ran = lines.map((line) => JSON.parse(masked(JSON.stringify(line))) as unknown);
    const { Id: id } = await inspect('one:1');
    expect(ran.filter((line) => !/hi 2.n|91mno/.test(JSON.stringify(line)))).toEqual([
      ...[{ stream: `Step 1/5 : FROM ${busybox}` }, { stream: '\n' }, { stream: ' ---> ID\n' }],
      ...[{ stream: 'Step 2/5 : ARG A=1' }, { stream: '\n' }, { stream: ' ---> ID\n' }],
      ...[
        { stream: 'Step 3/5 : RUN echo "hi $A"; echo no >&2' },
        { stream: '\n' },
        { stream: ' ---> Running in ID\n' },
      ],
      ...[{ stream: ' ---> Removed intermediate container ID\n' }, { stream: ' ---> ID\n' }],
      ...[{ stream: 'Step 4/5 : COPY a /a' }, { stream: '\n' }, { stream: ' ---> ID\n' }],
      ...[{ stream: 'Step 5/5 : CMD ["sh"]' }, { stream: '\n' }, { stream: ' ---> ID\n' }],
      { aux: { ID: id } },
      ...[{ stream: 'Successfully built ID\n' }, { stream: 'Successfully tagged one:1\n' }],
    ]);
    expect(ran).toContainEqual({ stream: 'hi 2\n' });
    expect(ran).toContainEqual({ stream: '\u001b[91mno\n\u001b[0m' });
    // The base and the result are known by their images' ids.
    const shown = lines.map(({ stream }) => /^ ---> ([0-9a-f]{12})\n$/.exec(String(stream))?.[1]).filter(Boolean);
    expect(shown.at(0)).toBe((await inspect(busybox)).Id.slice(7, 19));
    expect(shown.at(-1)).toBe(id.slice(7, 19));

    const again = (await post(dockerfile, options)).lines;
    expect(again.filter(({ stream }) => stream === ' ---> Using cache\n')).toHaveLength(2);
    expect(again).toContainEqual({ aux: { ID: id } });
    expect(
      (await said(dockerfile, { ...options, query: { ...options.query, nocache: 1 } })).split('Using cache'),
    ).toHaveLength(1);
  });

  test('several stages, a target, labels, arguments that nobody declares, a base with triggers', async () => {
    const dockerfile = `ARG B=${busybox}\nFROM $B AS one\nRUN echo 1 > /x\nFROM scratch AS unused\nCOPY no /\nFROM ${busybox} AS two\nCOPY --from=one /x /y\nFROM two\nLABEL a=b\n`;
    const all = await said(dockerfile, {
      query: { labels: { l: 'm' }, t: ['many', 'many:x'], buildargs: { U: '1', V: null } },
    });
    // What the target does not need is not gone through.
    expect(all.match(/^Step .*$/gm)).toEqual([
      `Step 1/8 : ARG B=${busybox}`,
      ...['Step 2/8 : FROM $B AS one', 'Step 3/8 : RUN echo 1 > /x', `Step 4/8 : FROM ${busybox} AS two`],
      ...['Step 5/8 : COPY --from=one /x /y', 'Step 6/8 : FROM two', 'Step 7/8 : LABEL a=b', 'Step 8/8 : LABEL l=m'],
    ]);
    expect(all).toMatch(
      /\[Warning\] One or more build-args \[U\] were not consumed\nSuccessfully built ID\nSuccessfully tagged many:latest\nSuccessfully tagged many:x\n$/,
    );
    expect((await inspect('many')).Config).toMatchObject({ Labels: { a: 'b', l: 'm' } });
    expect(await said(dockerfile, { query: { target: 'one' } })).toMatch(
      /^Step 1\/3 : (.|\n)*Step 3\/3 : RUN echo 1 > \/x\n ---> Using cache/,
    );
    await post(`FROM ${busybox}\nONBUILD RUN echo triggered\nONBUILD ENV A=b\n`, { query: { t: 'trigger' } });
    expect(await said('FROM trigger\nRUN echo own $A\n')).toMatch(
      /^Step 1\/2 : FROM trigger\n# Executing 2 build triggers\n ---> Running in ID\ntriggered\n ---> Removed intermediate container ID\n ---> ID\nStep 2\/2 : RUN echo own \$A\n ---> Running in ID\nown b\n/,
    );
  });

  test('quiet: the id alone, or all when it fails', async () => {
    const { lines } = await post(`FROM ${busybox}\nRUN echo 1\n`, { query: { q: 1, t: 'quiet' } });
    expect(lines).toEqual([{ stream: `${(await inspect('quiet')).Id}\n` }]);
    expect(await said(`FROM ${busybox}\nRUN echo about; exit 3\n`, { query: { q: 1 } })).toMatch(
      /^Step 1(.|\n)*about\nERROR The command/,
    );
  });

  test.each([
    { what: 'a shell’s', run: 'echo about; exit 3', code: 3, command: '/bin/sh -c echo about; exit 3' },
    { what: 'a list’s', run: '["sh", "-c", "exit 4"]', code: 4, command: 'sh -c exit 4' },
  ])('a command that fails: $what', async ({ run, code, command }) => {
    const { lines } = await post(`FROM ${busybox}\nRUN ${run}\nRUN never\n`, { query: { rm: 0, forcerm: 1 } });
    const error = `The command '${command}' returned a non-zero code: ${code}`;
    expect(lines.at(-1)).toEqual({ errorDetail: { code, message: error }, error });
    expect(JSON.stringify(lines.at(-2))).toContain('Removed intermediate container');
    expect(JSON.stringify(lines)).not.toContain('Step 3/3');
  });

  test('what is missing is told where it is missed', async () => {
    expect(await said(`FROM ${busybox}\nCOPY nothing /\n`)).toMatch(
      /Step 2\/2 : COPY nothing \/\nERROR COPY failed: file not found in build context or excluded by .dockerignore: stat nothing: file does not exist/,
    );
    expect(await said('FROM nowhere.invalid/x:1\nRUN true\n')).toMatch(
      /^Step 1\/2 : FROM nowhere.invalid\/x:1\nERROR .*nowhere.invalid/,
    );
    expect(await said(`FROM ${busybox}\nRUN true\n`, { query: { pull: 1 } })).toMatch(/^Step 1\/2 .*\nERROR .*busybox/);
  });

  test.each<{
    what: string;
    dockerfile?: string;
    query?: CallOptions['query'];
    status: 400 | 500;
    says: string | RegExp;
  }>([
    {
      what: 'an unknown instruction',
      dockerfile: 'FROM a\nRUNN b\n',
      status: 400,
      says: 'dockerfile parse error on line 2: unknown instruction: RUNN (did you mean RUN?)',
    },
    {
      what: 'an unknown flag',
      dockerfile: 'FROM a\nCOPY --no a b\n',
      status: 400,
      says: 'dockerfile parse error on line 2: unknown flag: --no',
    },
    { what: 'no Dockerfile', status: 500, says: 'Cannot locate specified Dockerfile: Dockerfile' },
    {
      what: 'not this Dockerfile',
      query: { dockerfile: 'sub/Other' },
      status: 500,
      says: 'Cannot locate specified Dockerfile: sub/Other',
    },
    {
      what: 'a Dockerfile elsewhere',
      query: { dockerfile: '../Other' },
      status: 500,
      says: /^forbidden path outside the build context: \.\.\/Other \(\)/,
    },
    { what: 'an empty Dockerfile', dockerfile: '', status: 400, says: 'the Dockerfile (Dockerfile) cannot be empty' },
    { what: 'no instruction', dockerfile: '# none\n', status: 400, says: /file with no instructions$/ },
    { what: 'no FROM', dockerfile: 'RUN a\n', status: 400, says: /no build stage in current context/ },
    {
      what: 'no such stage',
      dockerfile: 'FROM a\n',
      query: { target: 'b' },
      status: 400,
      says: 'target stage "b" could not be found',
    },
    {
      what: 'no platform',
      dockerfile: 'FROM a\n',
      query: { platform: 'a/b/c/d' },
      status: 400,
      says: /platform a\/b\/c\/d/,
    },
    {
      what: 'no name',
      dockerfile: 'FROM a\n',
      query: { t: 'UPPER' },
      status: 400,
      says: 'invalid reference format: repository name (library/UPPER) must be lowercase',
    },
    {
      what: 'no arguments',
      dockerfile: 'FROM a\n',
      query: { buildargs: '{x' },
      status: 400,
      says: /^error reading build args: /,
    },
    {
      what: 'no labels',
      dockerfile: 'FROM a\n',
      query: { labels: '{"a":1}' },
      status: 400,
      says: /^error reading labels: /,
    },
    {
      what: 'no images',
      dockerfile: 'FROM a\n',
      query: { cachefrom: '{}' },
      status: 400,
      says: /^error reading cache-from: /,
    },
    {
      what: 'no outputs',
      dockerfile: 'FROM a\n',
      query: { outputs: '{}' },
      status: 400,
      says: /^error reading outputs: /,
    },
    {
      what: 'an unknown builder',
      dockerfile: 'FROM a\n',
      query: { version: 3 },
      status: 400,
      says: 'invalid version "3"',
    },
    {
      what: 'one layer',
      dockerfile: 'FROM a\n',
      query: { squash: 1 },
      status: 400,
      says: 'squash is only supported with experimental mode',
    },
    {
      what: 'too small a memory',
      dockerfile: 'FROM a\n',
      query: { shmsize: -1 },
      status: 400,
      says: 'SHM size can not be less than 0',
    },
    {
      what: 'a network of its own',
      dockerfile: `FROM ${busybox}\nRUN true\n`,
      query: { networkmode: 'mine' },
      status: 400,
      says: /mine/,
    },
    {
      what: 'an address where nobody listens',
      query: { remote: 'http://127.0.0.1:9/x' },
      status: 500,
      says: /127\.0\.0\.1:9/,
    },
  ])('refused: $what', async ({ dockerfile, query = {}, status, says }) => {
    const { message } = await post(dockerfile, { query, expect: status });
    if (typeof says === 'string') expect(message).toBe(says);
    else expect(message).toMatch(says);
  });

  test.each<[string, (bytes: Buffer) => Uint8Array]>([
    ['gzip', (bytes) => execFileSync('gzip', { input: bytes })],
    ['bzip2', (bytes) => execFileSync('bzip2', { input: bytes })],
    ['xz', (bytes) => execFileSync('xz', { input: bytes })],
    ['zstd', (bytes) => zstdCompressSync(bytes)],
  ])('a context packed by %s', async (_, pack) => {
    const context = tar([file('d/My.file', `FROM ${busybox}\nCOPY d/f /\nRUN cat /f\n`), file('d/f', 'packed\n')]);
    expect(await said(undefined, { body: pack(context), query: { dockerfile: 'd/My.file' } })).toMatch(
      /packed\n|Using cache/,
    );
  });

  test('a context stays in its folder, whatever it is', async () => {
    const outside = join(engine().root, 'outside');
    mkdirSync(outside);
    for (const target of [outside, `../../../../../../../../..${outside}`]) {
      const files: TarEntry[] = [{ path: 'out', type: 'symlink', target }, file('out/planted', 'no')];
      await post(`FROM ${busybox}\n`, { files, expect: 400 });
    }
    const files: TarEntry[] = [
      { path: 'disk', type: 'block', device: [8, 0] },
      { path: 'pipe', type: 'fifo' },
      file('/absolute', 'inside'),
    ];
    const shown = await said(`FROM ${busybox}\nCOPY . /c\nRUN ls /c\n`, { files });
    expect(shown).toMatch(/\nDockerfile\nabsolute\n ---> Removed/);
    expect(readdirSync(outside)).toEqual([]);
    const escaping = await post('FROM scratch\n', { files: [file('../../escaped', 'no')], expect: 400 });
    expect(escaping.message).toContain('../../escaped');
    const linked = await post(undefined, {
      files: [{ path: 'Dockerfile', type: 'symlink', target: '/etc/passwd' }],
      expect: 500,
    });
    expect(linked.message).toBe('Cannot locate specified Dockerfile: Dockerfile');
    const broken = await api.call('POST /build', {
      body: tar([file('Dockerfile', 'FROM scratch\n')], { end: false }).subarray(0, 520),
      expect: 400,
    });
    expect(broken.message).toMatch(/truncated/);
    const bomb = gzipSync(
      Buffer.concat([tar([{ ...file('zeros', ''), claimedSize: 400 << 20 }], { end: false }), Buffer.alloc(300 << 20)]),
    );
    expect((await api.call('POST /build', { body: bomb, expect: 400 })).message).toContain('decompression bomb');
    expect(readdirSync(join(engine().dataRoot, 'build/contexts'))).toEqual([]);
  });

  test('remote: a Dockerfile, an archive, a folder of a repository', async () => {
    const served = join(engine().root, 'served');
    mkdirSync(join(served, 'work/sub'), { recursive: true });
    const dockerfile = (word: string) => `FROM ${busybox}\nRUN echo ${word} by remote\n`;
    writeFileSync(join(served, 'lone'), dockerfile('lone'));
    writeFileSync(join(served, 'context.tgz'), gzipSync(tar([file('My.file', dockerfile('packed'))])));
    writeFileSync(join(served, 'work/sub/Dockerfile'), dockerfile('cloned'));
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=a', '-c', 'user.email=a@b', '-C', join(served, 'work'), ...args], {
        stdio: 'pipe',
      });
    git('init', '--initial-branch', 'main');
    git('add', '.');
    git('commit', '-m', 'one');
    execFileSync('git', ['clone', '--bare', join(served, 'work'), join(served, 'repo.git')], { stdio: 'pipe' });
    const servers = [
      engine().spawn(['/bin/busybox', 'httpd', '-f', '-p', '127.0.0.1:8123', '-h', served]),
      engine().spawn(['git', 'daemon', '--export-all', '--listen=127.0.0.1', `--base-path=${served}`, served]),
    ];
    const at = (remote: string, more: object = {}) =>
      said(undefined, { body: new Uint8Array(), query: { remote, ...more } });
    const answers = async (...argv: string[]) => (await engine().run(argv, { expect: 'any' })).code === 0;
    await eventually('files are served', () => answers('curl', '-sf', 'http://127.0.0.1:8123/lone'));
    await eventually('the repository is served', () => answers('git', 'ls-remote', 'git://127.0.0.1/repo.git'));
    expect(await at('http://127.0.0.1:8123/lone')).toContain('\nlone by remote\n');
    const archive = 'http://127.0.0.1:8123/context.tgz';
    expect(await at(archive, { dockerfile: 'My.file' })).toContain('\npacked by remote\n');
    const cloned = await at('git://127.0.0.1/repo.git#main:sub');
    expect(cloned).toMatch(/^Step 1\/2 : FROM (.|\n)*\ncloned by remote\n/);
    for (const server of servers) server.kill();
  });

  test('cancelled by its id, and when the daemon dies: nothing is left', async () => {
    const sleeping = () => running('sleep 1000.51');
    const contexts = () => readdirSync(join(engine().dataRoot, 'build/contexts'));
    const dockerfile = `FROM ${busybox}\nRUN exec sleep 1000.51\n`;
    const building = post(dockerfile, { query: { buildid: 'mine' } });
    await eventually('the command runs', () => sleeping().length > 0);
    expect((await api.send('POST /build/cancel', { query: { id: 'mine' } })).status).toBe(200);
    expect(JSON.stringify((await building).lines.at(-1))).toMatch(/cancel/);
    await eventually('the command is gone', () => sleeping().length === 0);
    expect((await api.send('POST /build/cancel')).message).toBe('build ID not provided');

    const dying = post(dockerfile).catch(() => {});
    await eventually('the command runs', () => sleeping().length > 0);
    expect(contexts()).toHaveLength(1);
    await engine().stopDaemon('SIGKILL');
    await dying;
    await engine().serve();
    await eventually('the command is gone', () => sleeping().length === 0);
    expect(contexts()).toEqual([]);
  });

  test('an ignore file was applied by who sent the context: of it, only what is sent in any case goes', async () => {
    const files = [file('a', ''), file('b', '')];
    const dockerfile = `FROM ${busybox}\nCOPY . /c\nRUN ls -A /c\n`;
    const ignore = (content: string) => [...files, file('.dockerignore', content)];
    expect(await said(dockerfile, { files: ignore('b\n') })).toContain('\n.dockerignore\nDockerfile\na\nb\n');
    expect(await said(dockerfile, { files: ignore('b\nDockerfile\n.dockerignore\n') })).toContain(
      '\na\nb\n ---> Removed',
    );
  });

  test('two contexts whose times and sizes are the same are two', async () => {
    const dockerfile = `FROM ${busybox}\nCOPY f /f\nRUN cat /f\n`;
    for (const word of ['first', 'other']) {
      expect(await said(dockerfile, { files: [file('f', `${word}\n`)] })).toContain(`\n${word}\n`);
    }
  });

  test('what commands may use', async () => {
    const files = 'memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpuset/cpuset.cpus memory.max cpu.max cpuset.cpus';
    const told = await said(`FROM ${busybox}\nRUN cd /sys/fs/cgroup; cat ${files} 2>/dev/null; true\n`, {
      query: {
        ...{ memory: 64 << 20, memswap: -1, cpushares: 100, cpuperiod: 100_000, cpuquota: 50_000, cpusetcpus: '0' },
        remote: '',
      },
    });
    expect(told).toMatch(/67108864\n(50000|50000 100000)\n0\n/);
  });

  test('an output of one’s own choosing, and a context that is not there any more when it was built', async () => {
    const dockerfile = `FROM ${busybox}\nRUN echo packed > /word\n`;
    const outputs = [{ Type: 'moby', Attrs: { compression: 'zstd', 'force-compression': 'true' } }];
    await post(dockerfile, { query: { t: 'zstd', outputs: JSON.stringify(outputs), cachefrom: '[]' } });
    const saved = await api.send('GET /images/{name}/get', { of: 'zstd' });
    expect(saved.status).toBe(200);
    expect(saved.bytes.includes(Buffer.from([0x28, 0xb5, 0x2f, 0xfd]))).toBe(true);
    expect(readdirSync(join(engine().dataRoot, 'build/contexts'))).toEqual([]);
  });

  test('settings of the commands', async () => {
    const dockerfile = `FROM ${busybox}\nRUN cat /etc/hosts; ulimit -n; df -k /dev/shm; ls /sys/class/net; echo $HTTP_PROXY\n`;
    const told = await said(dockerfile, {
      query: {
        extrahosts: ['one:10.0.0.1', 'two:fd00::2'],
        ulimits: JSON.stringify([{ Name: 'nofile', Soft: 100, Hard: 200 }]),
        shmsize: 8 << 20,
        networkmode: 'none',
        buildargs: { HTTP_PROXY: 'http://proxy.invalid' },
        platform: 'linux',
      },
    });
    for (const each of ['10.0.0.1\tone', 'fd00::2\ttwo', '\n100\n', ' 8192 ', '\nlo\n', 'http://proxy.invalid'])
      expect(told).toContain(each);
    expect(await said(`FROM ${busybox}\nRUN ls /sys/class/net\n`, { query: { networkmode: 'host' } })).toContain(
      '\nlo\n',
    );
  });

  test('nothing of these endpoints is left out', () => {
    expect(api.leftOut(['POST /build'])).toEqual([]);
  });
});

describe('what is kept of builds', shows({ endpoints: ['POST /build/prune'] }), () => {
  const engine = withEngine();
  const api = new Caller(() => engine().socket);

  test('POST /build/prune: by sizes, by filters, and all', async () => {
    const dockerfile = `FROM ${busybox}\nRUN head -c 1000000 /dev/zero > /zeros\n`;
    const headers = { 'content-type': 'application/x-tar' };
    const query = { t: 'kept:test', networkmode: 'none' };
    await api.call('POST /build', { body: tar([file('Dockerfile', dockerfile)]), headers, query });
    const list = async () =>
      (await api.call<{ BuildCache: { ID: string; Shared: boolean; Size: number }[] }>('GET /system/df')).body
        .BuildCache;
    expect((await list()).filter(({ Size, Shared }) => Shared && Size >= 1_000_000)).not.toEqual([]);
    const nothing = { CachesDeleted: null, SpaceReclaimed: 0 };
    const ample = String(1e15);
    const askings: Record<string, string>[] = [
      { 'keep-storage': ample },
      { 'reserved-space': ample },
      { 'max-used-space': ample },
      { 'min-free-space': '1' },
      { filters: JSON.stringify({ until: ['24h'] }) },
      { filters: JSON.stringify({ until: { '24h': true } }) },
    ];
    for (const sizes of askings) expect((await api.call('POST /build/prune', { query: sizes })).body).toEqual(nothing);
    await engine().docker(['rmi', 'kept:test']);
    const all = await api.call<{ CachesDeleted: string[]; SpaceReclaimed: number }>('POST /build/prune', {
      query: { all: 1 },
    });
    expect(all.body.CachesDeleted.length).toBeGreaterThan(1);
    expect(all.body.SpaceReclaimed).toBeGreaterThanOrEqual(1_000_000);
    expect(await list()).toEqual([]);
    expect(api.leftOut(['POST /build/prune'])).toEqual([]);
  });
});
