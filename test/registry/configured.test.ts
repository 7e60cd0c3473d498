import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from '../support/certificates.ts';
import { TestEngine } from '../support/engine.ts';
import type { Result } from '../support/execute.ts';
import { busyboxEntries } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

/* registries.conf and credentials as a user has them, against real registries: an open one and one that asks who comes. */

const secret = { username: 'me', password: 'p:w 1' };
const oci = { accept: 'application/vnd.oci.image.manifest.v1+json' };
const layers = [tar(busyboxEntries())];
let open: TestRegistry;
let closed: TestRegistry;

beforeAll(async () => {
  [open, closed] = await Promise.all([startRegistry(), startRegistry({ auth: secret })]);
  for (const name of ['hub/library/busybox', 'team/tool', 'second/only']) await open.seed(name, 'latest', { layers });
  await closed.seed('team/secret', 'v1', { layers });
});

afterAll(async () => {
  await Promise.all([open[Symbol.asyncDispose](), closed[Symbol.asyncDispose]()]);
});

describe.each(['in-process', 'daemon'] as const)('configured registries, %s', (face) => {
  let engine: TestEngine;
  let conf: string;
  const relays: AsyncDisposable[] = [];

  beforeAll(async () => {
    engine = await TestEngine.start({ face: 'in-process', image: false });
    conf = join(engine.root, 'registries.conf');
    const dead = '127.0.0.1:9';
    writeFileSync(
      conf,
      `unqualified-search-registries = ["${open.address}/none", "${open.address}/second", "docker.io"]
[aliases]
"tool" = "${open.address}/team/tool"
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "${dead}"
[[registry.mirror]]
location = "${open.address}/hub"
[[registry]]
location = "blocked.test"
blocked = true
[[registry]]
prefix = "moved.test/old"
location = "${open.address}/team"
`,
    );
    if (face === 'daemon') {
      // Credentials of whoever runs the daemon: nobody else may profit from them.
      const home = join(engine.root, 'daemon-home/.docker');
      mkdirSync(home, { recursive: true });
      const auth = Buffer.from(`${secret.username}:${secret.password}`).toString('base64');
      writeFileSync(join(home, 'config.json'), JSON.stringify({ auths: { [closed.address]: { auth } } }));
      process.env['DOCKER_CONFIG'] = home;
      try {
        await engine.serve(['--registries-conf', conf]);
      } finally {
        delete process.env['DOCKER_CONFIG'];
      }
      expect(readFileSync(`/proc/${engine.daemonPid}/environ`, 'utf8')).toContain(`DOCKER_CONFIG=${home}`);
    }
    for (const { port } of [open, closed]) relays.push(await tunnel(engine, port));
  });

  afterAll(async () => {
    for (const relay of relays) await relay[Symbol.asyncDispose]();
    await engine[Symbol.asyncDispose]();
  });

  const user = () => join(engine.root, 'user');
  afterEach(() => rmSync(user(), { recursive: true, force: true }));

  const tare = (words: string[], input?: string): Promise<Result> =>
    engine.tare(words, {
      expect: 'any',
      env: {
        CONTAINERS_REGISTRIES_CONF: conf,
        DOCKER_CONFIG: user(),
        XDG_RUNTIME_DIR: user(),
        XDG_CONFIG_HOME: user(),
        REGISTRY_AUTH_FILE: '',
      },
      ...(input === undefined ? {} : { input }),
    });

  const login = (password: string, server: string) =>
    tare(['login', '-u', secret.username, '--password-stdin', server], password);

  test('a mirror that is not there is passed over, and the image keeps its own name', async () => {
    const pulled = await tare(['pull', 'docker.io/library/busybox']);
    expect(pulled, pulled.stderr).toMatchObject({ code: 0 });
    expect(pulled.stdout.split('\n').slice(-3)).toEqual([
      'Status: Downloaded newer image for busybox:latest',
      'docker.io/library/busybox:latest',
      '',
    ]);
    expect((await tare(['run', '--rm', '--network', 'none', 'docker.io/library/busybox', 'echo', 'ran'])).stdout).toBe(
      'ran\n',
    );
  });

  test('an alias: run pulls it once', async () => {
    const run = ['run', '--rm', '--network', 'none', 'tool', 'echo', 'ran'];
    const first = await tare(run);
    expect(first, first.stderr).toMatchObject({ code: 0, stdout: 'ran\n' });
    expect(first.stderr).toContain("Unable to find image 'tool:latest' locally\n");
    expect(first.stderr).toContain(`Status: Downloaded newer image for ${open.address}/team/tool:latest\n`);
    expect(await tare(run)).toMatchObject({ code: 0, stdout: 'ran\n', stderr: '' });
  });

  test('the search list, in order', async () => {
    const pulled = await tare(['pull', 'only']);
    expect(pulled, pulled.stderr).toMatchObject({ code: 0 });
    expect(pulled.stdout.split('\n').at(-2)).toBe(`${open.address}/second/only:latest`);
  });

  test('a name that has moved, and one that is blocked', async () => {
    expect((await tare(['pull', '-q', 'moved.test/old/tool'])).stdout).toBe('moved.test/old/tool:latest\n');
    const blocked = await tare(['pull', 'blocked.test/tool']);
    expect(blocked.code).toBe(1);
    expect(blocked.stderr).toContain('blocked.test is blocked by registries.conf');
    await tare(['tag', 'moved.test/old/tool', 'blocked.test/tool']);
    const push = await tare(['push', 'blocked.test/tool']);
    expect(push.code).toBe(1);
    expect(push.stderr).toContain('blocked.test is blocked by registries.conf');
  });

  test('what the files say is read anew', async () => {
    const before = readFileSync(conf, 'utf8');
    try {
      writeFileSync(conf, `${before}[[registry]]\nlocation = "${open.address}/team/tool"\nblocked = true\n`);
      expect((await tare(['pull', `${open.address}/team/tool`])).stderr).toContain('is blocked by registries.conf');
      writeFileSync(conf, 'no TOML');
      expect((await tare(['pull', `${open.address}/team/tool`])).stderr).toContain('is not valid TOML');
    } finally {
      writeFileSync(conf, before);
    }
    expect((await tare(['pull', `${open.address}/team/tool`])).code).toBe(0);
  });

  test('login, pull, push and logout', async () => {
    const name = `${closed.address}/team/secret:v1`;
    const without = await tare(['pull', name]);
    expect(without.code).toBe(1);
    expect(without.stderr).toMatch(/pull access denied|unauthorized|authentication required/i);
    const wrong = await login('wrong', closed.address);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain('the user name or the password is wrong');
    expect((await tare(['pull', name])).code).toBe(1);

    const right = await login(`${secret.password}\n`, closed.address);
    expect(right, right.stderr).toMatchObject({ code: 0, stdout: 'Login Succeeded\n' });
    const pulled = await tare(['pull', '-q', name]);
    expect(pulled, pulled.stderr).toMatchObject({ code: 0, stdout: `${name}\n` });
    await tare(['tag', name, `${closed.address}/team/pushed:v2`]);
    const pushed = await tare(['push', `${closed.address}/team/pushed:v2`]);
    expect(pushed, pushed.stderr).toMatchObject({ code: 0 });
    expect(pushed.stdout).toMatch(/v2: digest: sha256:[0-9a-f]{64} size: \d+\n$/);
    expect((await closed.request('GET', '/v2/team/pushed/manifests/v2', oci)).status).toBe(200);
    // What we wrote is docker's and podman's as well.
    const others = await engine.run([
      'skopeo',
      'login',
      '--get-login',
      '--authfile',
      join(user(), 'config.json'),
      closed.address,
    ]);
    expect(others.stdout).toBe('me\n');

    expect((await tare(['logout', closed.address])).stdout).toBe(`Removing login credentials for ${closed.address}\n`);
    expect(JSON.parse(readFileSync(join(user(), 'config.json'), 'utf8'))).toEqual({ auths: {} });
    expect((await tare(['push', `${closed.address}/team/pushed:v2`])).code).toBe(1);
  });

  test('credentials of one repository are not those of another', async () => {
    await login(secret.password, `${closed.address}/team/secret`);
    expect((await tare(['pull', '-q', `${closed.address}/team/secret:v1`])).code).toBe(0);
    expect((await tare(['pull', '-q', `${closed.address}/other/secret:v1`])).stderr).toMatch(
      /denied|unauthorized|required/i,
    );
  });
});

test('certs.d has authorities to trust and the certificate that a registry wants to see', async () => {
  const [servers, clients, strangers] = ['servers', 'clients', 'strangers'].map((commonName) =>
    makeCertificate({ isAuthority: true, commonName }),
  ) as [Certificate, Certificate, Certificate];
  const client = makeCertificate({ issuer: clients, commonName: 'me' });
  await using registry = await startRegistry({
    tls: makeCertificate({ issuer: servers }),
    clientAuthority: clients.cert,
  });
  await using engine = await TestEngine.start({ face: 'in-process', image: false });
  await using _relay = await tunnel(engine, registry.port);
  const home = join(engine.root, 'home');
  const folder = join(home, '.config/containers/certs.d', registry.address);
  mkdirSync(folder, { recursive: true });
  const pull = async () => {
    const name = `${registry.address}/team/app`;
    const { code, stderr } = await engine.tare(['pull', name], { expect: 'any', env: { HOME: home } });
    expect(code).toBe(1);
    return stderr;
  };

  writeFileSync(join(folder, 'ca.crt'), strangers.cert);
  expect(await pull()).toMatch(/certificate/);
  writeFileSync(join(folder, 'ca.crt'), servers.cert);
  expect(await pull()).toMatch(/certificate|TLS/);
  writeFileSync(join(folder, 'me.cert'), client.cert);
  expect(await pull()).toContain('its key me.key is missing');
  rmSync(join(folder, 'ca.crt'));
  expect(await pull()).toContain('its key me.key is missing');
  writeFileSync(join(folder, 'ca.crt'), servers.cert);
  writeFileSync(join(folder, 'me.key'), client.key);
  // The registry speaks to us now, and has nothing of that name.
  expect(await pull()).toMatch(/not found|unknown/i);
});
