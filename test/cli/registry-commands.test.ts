import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { built } from '../support/built.ts';
import { execute } from '../support/execute.ts';
import { type Size, Terminal } from '../support/terminal.ts';
import { type Answers, CannedDaemon } from './canned-daemon.ts';

/* pull, push, search, login and logout against a daemon that says what the test tells it; the registry comes in test/registry. */

let folder: string;
let env: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'tare-cli-'));
  writeFileSync(join(folder, 'registries.conf'), '');
  env = {
    HOME: folder,
    XDG_RUNTIME_DIR: folder,
    XDG_CONFIG_HOME: folder,
    DOCKER_CONFIG: join(folder, 'docker'),
    REGISTRY_AUTH_FILE: '',
    CONTAINERS_REGISTRIES_CONF: join(folder, 'registries.conf'),
  };
});

afterEach(() => rmSync(folder, { recursive: true }));

const command = (daemon: CannedDaemon, words: string[]) => [join(built(), 'bin/tare'), '-H', daemon.address, ...words];
const tare = (daemon: CannedDaemon, words: string[], input?: string) =>
  execute(command(daemon, words), { env, expect: 'any', ...(input === undefined ? {} : { input }) });
const terminal = (daemon: CannedDaemon, words: string[], size?: Size) =>
  new Terminal(command(daemon, words), { env, ...(size === undefined ? {} : { size }) });

const layer = (n: number) => n.toString(16).padStart(12, '0');
const line = (document: object) => `${JSON.stringify(document)}\n`;
const basic = (username: string, password: string) => ({
  auth: Buffer.from(`${username}:${password}`).toString('base64'),
});
const loggedIn = (auths: Record<string, unknown>) => {
  mkdirSync(join(folder, 'docker'), { recursive: true });
  writeFileSync(join(folder, 'docker/config.json'), JSON.stringify({ auths }));
};

/** What a pull of some layers says, 100 steps a layer, side by side. */
async function* pulling(layers: number, stepMs: number): AsyncGenerator<string> {
  yield line({ status: 'Pulling from library/x', id: '1' });
  for (let n = 0; n < layers; n++) yield line({ status: 'Pulling fs layer', progressDetail: {}, id: layer(n) });
  for (let step = 1; step <= 100; step++) {
    for (let n = 0; n < layers; n++)
      yield line({ status: 'Downloading', progressDetail: { current: step * 10_000, total: 1_000_000 }, id: layer(n) });
    await sleep(stepMs);
  }
  for (let n = 0; n < layers; n++) yield line({ status: 'Pull complete', progressDetail: {}, id: layer(n) });
  yield line({ status: `Digest: sha256:${'d'.repeat(64)}` });
  yield line({ status: 'Status: Downloaded newer image for x:1' });
}

const end = [`Digest: sha256:${'d'.repeat(64)}`, 'Status: Downloaded newer image for x:1', 'docker.io/library/x:1'];

test('pull on a terminal: a line for each layer, at most ten times a second, and nothing left over', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /images/create': () => pulling(3, 15) });
  using shown = terminal(daemon, ['pull', 'x:1']);
  expect(await shown.ended).toBe(0);
  const layers = [0, 1, 2].map((n) => `${layer(n)}: Pull complete`);
  expect(shown.lines).toEqual(['1: Pulling from library/x', ...layers, ...end]);
  expect(shown.output).toMatch(/: Downloading +\[=+> *\] [\d.]+kB\/1MB +[\d.]+[kM]B\/s +1?\ds left/);
  // 1.5 s of progress in 300 messages.
  const frames = shown.output.split('\x1b[J').length;
  expect(frames).toBeGreaterThan(5);
  expect(frames).toBeLessThan(30);
});

test('pull on a small terminal: layers beyond its height are counted, and all are told of in the end', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /images/create': () => pulling(12, 5) });
  using shown = terminal(daemon, ['pull', 'x:1'], { rows: 6, columns: 40 });
  expect(await shown.ended).toBe(0);
  expect(shown.output).toContain('8 more layers, 0 of them complete');
  const layers = Array.from({ length: 12 }, (_, n) => `${layer(n)}: Pull complete`);
  expect(shown.lines.slice(-15 - 1)).toEqual(
    [
      '1: Pulling from library/x',
      ...layers,
      // The digest is longer than the terminal is wide.
      `Digest: sha256:${'d'.repeat(25)}`,
      'd'.repeat(39),
      ...end.slice(1),
    ].slice(-16),
  );
});

test('a terminal that does not know its size', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /images/create': () => pulling(2, 3) });
  using shown = terminal(daemon, ['pull', 'x:1'], { rows: 0, columns: 0 });
  expect(await shown.ended).toBe(0);
  expect(shown.output).toMatch(/\x1b\[2A\r\x1b\[J/);
  expect(shown.output).toContain(': Pull complete');
  expect(shown.output).not.toContain('Infinity');
});

test('a pull that fails leaves what it did and says why', async () => {
  await using daemon = await CannedDaemon.start({
    'POST /images/create': async function* () {
      yield line({ status: 'Pulling from library/x', id: '1' });
      yield line({ status: 'Downloading', progressDetail: { current: 500, total: 1000 }, id: layer(1) });
      await sleep(150);
      yield line({ errorDetail: { message: 'the disk is full' }, error: 'the disk is full' });
    },
  });
  using shown = terminal(daemon, ['pull', 'x:1']);
  expect(await shown.ended).toBe(1);
  expect(shown.lines).toEqual([
    '1: Pulling from library/x',
    expect.stringMatching(/^000000000001: Downloading +\[=+> +\] 500B\/1kB/),
    'tare: the disk is full',
  ]);
});

test('pull without a terminal prints what stays true', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /images/create': () => pulling(2, 0) });
  const { stdout, stderr, code } = await tare(daemon, ['pull', 'x:1']);
  expect({ stdout: stdout.split('\n'), stderr, code }).toEqual({
    stdout: ['1: Pulling from library/x', ...end, ''],
    stderr: '',
    code: 0,
  });
  expect((await tare(daemon, ['pull', '-q', 'x:1'])).stdout).toBe('docker.io/library/x:1\n');
  expect((await tare(daemon, ['pull', '-q', '--all-platforms', 'x:1'])).code).toBe(0);
  expect(daemon.take().at(-1)!.query).toMatchObject({ allPlatforms: 'true' });
  expect((await tare(daemon, ['pull', '--all-platforms', '--platform', 'linux/arm64', 'x'])).code).toBe(1);
});

test('push shows its layers in the same way', async () => {
  await using daemon = await CannedDaemon.start({
    'POST /images/*': async function* () {
      yield line({ status: 'The push refers to repository [a.test/x]' });
      yield line({ status: 'Preparing', progressDetail: {}, id: layer(1) });
      yield line({ status: 'Pushing', progressDetail: { current: 500, total: 1000 }, id: layer(1) });
      yield line({ status: 'Layer already exists', progressDetail: {}, id: layer(2) });
      await sleep(150);
      yield line({ status: 'Pushed', progressDetail: {}, id: layer(1) });
      yield line({ status: '1: digest: sha256:abc size: 12' });
      yield line({ progressDetail: {}, aux: { Tag: '1', Digest: 'sha256:abc', Size: 12 } });
    },
  });
  const told = ['The push refers to repository [a.test/x]', '1: digest: sha256:abc size: 12'];
  using shown = terminal(daemon, ['push', 'a.test/x:1']);
  expect(await shown.ended).toBe(0);
  expect(shown.lines).toEqual([told[0], `${layer(1)}: Pushed`, `${layer(2)}: Layer already exists`, told[1]]);
  expect((await tare(daemon, ['push', 'a.test/x:1'])).stdout).toBe(`${told.join('\n')}\n`);
});

/** A daemon that has an image from its pull on. */
function daemonWithout(): Answers {
  const here = new Set<string>();
  return {
    'POST /containers/create': (request: { body: unknown }) => {
      const { Image } = request.body as { Image: string };
      if (here.has(Image)) return { body: { Id: 'c'.repeat(64), Warnings: [] } };
      return { status: 404, body: { message: `No such image: ${Image}` } };
    },
    'POST /images/create': async function* ({ query }: { query: Record<string, string> }) {
      const name = `${query['fromImage']}:${query['tag']}`;
      here.add(name).add(name.replace(/^docker.io\/library\//, ''));
      yield line({ status: `Status: Downloaded newer image for ${name.replace(/^docker.io\/library\//, '')}` });
    },
  };
}

test('an image that is not there is pulled, unless that is not wanted', async () => {
  await using daemon = await CannedDaemon.start(daemonWithout());
  const never = await tare(daemon, ['create', '--pull', 'never', 'x:1']);
  expect(never).toMatchObject({ code: 1, stderr: 'tare: No such image: x:1\n' });
  const missing = await tare(daemon, ['create', 'x:1']);
  expect(missing).toMatchObject({
    code: 0,
    stdout: `${'c'.repeat(64)}\n`,
    stderr: "Unable to find image 'x:1' locally\nStatus: Downloaded newer image for x:1\n",
  });
  daemon.take();
  expect(await tare(daemon, ['create', 'x:1'])).toMatchObject({ code: 0, stderr: '' });
  expect(daemon.take().map(({ path }) => path)).toEqual(['/containers/create']);
  expect(await tare(daemon, ['create', '--pull', 'always', 'x:1'])).toMatchObject({
    code: 0,
    stderr: 'Status: Downloaded newer image for x:1\n',
  });
  expect(await tare(daemon, ['create', '--quiet', 'y:1'])).toMatchObject({ code: 0, stderr: '' });
});

test('an alias names another registry, also for what is here already', async () => {
  writeFileSync(join(folder, 'registries.conf'), '[aliases]\n"tool"="a.test/team/tool"');
  loggedIn({ 'a.test/team': basic('me', 'secret'), 'docker.io': basic('hub', 'secret') });
  await using daemon = await CannedDaemon.start(daemonWithout());
  expect(await tare(daemon, ['create', 'tool:1'])).toMatchObject({ code: 0 });
  const images = (requests: ReturnType<CannedDaemon['take']>) =>
    requests.map(({ body, query, auth }) => (body as { Image?: string }).Image ?? [query['fromImage'], auth]);
  const auth = { username: 'me', password: 'secret', serveraddress: 'a.test' };
  expect(images(daemon.take())).toEqual([
    'tool:1',
    'a.test/team/tool:1',
    ['a.test/team/tool', auth],
    'a.test/team/tool:1',
  ]);
  expect(await tare(daemon, ['create', 'tool:1'])).toMatchObject({ code: 0, stderr: '' });
  expect(images(daemon.take())).toEqual(['tool:1', 'a.test/team/tool:1']);
});

test('a short name of several registries shows no credentials', async () => {
  writeFileSync(join(folder, 'registries.conf'), 'unqualified-search-registries=["a.test", "docker.io"]');
  loggedIn({ 'a.test': basic('me', 'secret'), 'docker.io': basic('hub', 'secret') });
  await using daemon = await CannedDaemon.start({
    'POST /images/create': line({ status: 'Status: Downloaded newer image for a.test/x:latest' }),
  });
  expect((await tare(daemon, ['pull', 'x'])).stdout.split('\n').at(-2)).toBe('a.test/x:latest');
  expect(daemon.take().map(({ query, auth }) => [query['fromImage'], auth])).toEqual([['x', {}]]);
  expect((await tare(daemon, ['pull', 'docker.io/library/x'])).code).toBe(0);
  expect(daemon.take()[0]!.auth).toEqual({
    username: 'hub',
    password: 'secret',
    serveraddress: 'https://index.docker.io/v1/',
  });
});

test('login asks at a terminal and shows nothing of the password', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /auth': { Status: 'Login Succeeded', IdentityToken: '' } });
  using shown = terminal(daemon, ['login', 'a.test:5000']);
  await shown.shows('Username: ');
  shown.type('me\n');
  await shown.shows('Password: ');
  // A slip that is taken back, and a line that is begun anew.
  shown.type('wrong\x15hunterX\x7f2\r');
  expect(await shown.ended, shown.output).toBe(0);
  expect(shown.lines.at(-1)).toBe('Login Succeeded');
  expect(shown.output).not.toMatch(/hunter|wrong/);
  expect(daemon.take()[0]!.body).toEqual({ username: 'me', password: 'hunter2', serveraddress: 'a.test:5000' });
  expect(JSON.parse(readFileSync(join(folder, 'docker/config.json'), 'utf8'))).toEqual({
    auths: { 'a.test:5000': basic('me', 'hunter2') },
  });
});

test('login at a terminal ends with Ctrl-C, and nothing is kept', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /auth': { Status: 'Login Succeeded' } });
  using shown = terminal(daemon, ['login', '-u', 'me', 'a.test']);
  await shown.shows('Password: ');
  shown.type('half\x03');
  expect(await shown.ended).toBe(1);
  expect(daemon.take()).toEqual([]);
  expect(existsSync(join(folder, 'docker'))).toBe(false);
});

test('login takes the password from standard input, and the registry has the last word', async () => {
  await using daemon = await CannedDaemon.start({
    'POST /auth': ({ body }: { body: unknown }) =>
      (body as { password: string }).password === ' p w '
        ? { body: { IdentityToken: 'token' } }
        : { status: 401, body: { message: 'denied' } },
  });
  const refused = await tare(daemon, ['login', '-u', 'me', '--password-stdin', 'a.test'], 'wrong\n');
  expect(refused).toMatchObject({ code: 1, stderr: 'tare: denied\n' });
  expect(existsSync(join(folder, 'docker'))).toBe(false);
  const accepted = await tare(daemon, ['login', '-u', 'me', '--password-stdin', 'a.test'], ' p w \n');
  expect(accepted).toMatchObject({ code: 0, stdout: 'Login Succeeded\n' });
  expect(JSON.parse(readFileSync(join(folder, 'docker/config.json'), 'utf8'))).toEqual({
    auths: { 'a.test': { ...basic('me', ''), identitytoken: 'token' } },
  });
  // What is known is tried first.
  const again = await tare(daemon, ['login', 'a.test']);
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('Login did not succeed with them.') });
  expect(daemon.take().at(-1)!.body).toEqual({ username: 'me', identitytoken: 'token', serveraddress: 'a.test' });
  const huge = await tare(daemon, ['login', '-u', 'me', '--password-stdin', 'a.test'], 'x'.repeat(70_000));
  expect(huge).toMatchObject({ code: 1, stderr: 'tare: the password is longer than 64 KiB\n' });
});

test('login and logout of a file that is named', async () => {
  await using daemon = await CannedDaemon.start({ 'POST /auth': { Status: 'Login Succeeded' } });
  const authFile = join(folder, 'auth.json');
  const login = await tare(daemon, ['login', '--authfile', authFile, '-u', 'me', '-p', 'p', 'a.test/ns']);
  expect(login).toMatchObject({ code: 0, stderr: expect.stringContaining(`stored unencrypted in '${authFile}'`) });
  expect(JSON.parse(readFileSync(authFile, 'utf8')).auths).toEqual({ 'a.test/ns': basic('me', 'p') });
  expect((await tare(daemon, ['logout', '--authfile', authFile, 'b.test'])).stdout).toBe('Not logged in to b.test\n');
  expect((await tare(daemon, ['logout', '--authfile', authFile, 'a.test/ns'])).stdout).toBe(
    'Removing login credentials for a.test/ns\n',
  );
  expect((await tare(daemon, ['logout', '--authfile', authFile, '--all'])).stdout).toBe(
    'Not logged in to any registry\n',
  );
});

test.each(['a.test/../x', 'a b', 'a.test\nb', '--', '-x'])('login refuses the registry %j', async (server) => {
  await using daemon = await CannedDaemon.start({});
  const { code, stderr } = await tare(daemon, ['login', '-u', 'me', '-p', 'p', '--', server]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/invalid registry/);
  expect(daemon.take()).toEqual([]);
});

const found = [
  { name: 'busybox', description: 'Busybox \n base image.', star_count: 12, is_official: true, is_automated: false },
  { name: 'a/b', description: 'x'.repeat(60), star_count: 0, is_official: false, is_automated: true },
  { name: 'evil\x1b[2J', description: '\x1b]0;title\x07', star_count: 1, is_official: false, is_automated: false },
];

test.each([
  {
    words: ['busy'],
    want: [
      'NAME       DESCRIPTION                                     STARS     OFFICIAL',
      'busybox    Busybox   base image.                           12        [OK]',
      `a/b        ${'x'.repeat(44)}…   0         `,
      'evil [2J    ]0;title                                       1         ',
    ],
  },
  {
    words: ['--format', '{{.Name}}|{{.StarCount}}|{{.IsOfficial}}', 'busy'],
    want: ['busybox|12|[OK]', 'a/b|0|', 'evil [2J|1|'],
  },
  {
    words: ['--no-trunc', '--format', '{{.Description}}', 'busy'],
    want: ['Busybox   base image.', 'x'.repeat(60), ' ]0;title '],
  },
])('search $words', async ({ words, want }) => {
  await using daemon = await CannedDaemon.start({ 'GET /images/search': found });
  expect((await tare(daemon, ['search', ...words])).stdout).toBe(want.map((row) => `${row}\n`).join(''));
});
