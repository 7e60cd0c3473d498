import { mkdirSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../src/api/docker/index.ts';
import { buildkitClient } from '../support/buildkit-client.ts';
import { busybox, TestEngine } from '../support/engine.ts';
import { RawConnection } from '../support/raw-connection.ts';

let engine: TestEngine;
let srv: string;
let auditLog: string;

beforeAll(async () => {
  engine = await TestEngine.start({ face: 'in-process' });
  srv = join(engine.root, 'srv');
  mkdirSync(join(srv, 'inside'), { recursive: true });
  writeFileSync(join(srv, 'inside/file'), 'inside');
  symlinkSync('/etc', join(srv, 'out'));
  // Whoever runs the engine in his own process is held to nothing.
  await engine.tare([
    'run',
    '-d',
    '--name',
    'strong',
    '--privileged',
    '-v',
    '/etc:/host-etc',
    busybox,
    'sleep',
    '1000',
  ]);
  await engine.tare(['run', '-d', '--name', 'weak', '-v', `${srv}/inside:/data`, busybox, 'sleep', '1000']);
  await engine.tare(['volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', 'device=/etc', 'shown']);
  auditLog = join(engine.root, 'audit.log');
  const config = join(engine.root, 'tare.toml');
  writeFileSync(
    config,
    `[policy]
deny-privileged = true
[[policy.callers]]
uids = [0]
deny-privileged = true
deny-host-namespaces = true
deny-devices = true
deny-unconfined = true
allowed-bind-sources = ["${srv}"]
denied-capabilities = ["SYS_ADMIN"]
allowed-registries = ["docker.io/library"]
`,
  );
  await engine.serve(['--config', config, '--audit-log', auditLog]);
});

afterAll(() => engine[Symbol.asyncDispose]());

const docker = (args: string[]) => engine.docker(args, { expect: 'any' });

describe('docker asks for what its caller may not have', () => {
  test.each([
    [['--privileged'], 'deny-privileged'],
    [['--network', 'host'], 'deny-host-namespaces'],
    [['--pid', 'host'], 'deny-host-namespaces'],
    [['--ipc', 'host'], 'deny-host-namespaces'],
    [['--uts', 'host'], 'deny-host-namespaces'],
    [['--pid', 'container:strong'], 'deny-privileged'],
    [['--network', 'container:strong'], 'deny-privileged'],
    [['--volumes-from', 'strong'], 'allowed-bind-sources'],
    [['-v', '/:/host'], 'allowed-bind-sources'],
    [['-v', '/etc/passwd:/x:ro'], 'allowed-bind-sources'],
    [['--mount', 'type=bind,source=/var/run,target=/x'], 'allowed-bind-sources'],
    [
      ['--mount', 'type=volume,source=sly,target=/x,volume-opt=type=none,volume-opt=o=bind,volume-opt=device=/etc'],
      'allowed-bind-sources',
    ],
    [['--cap-add', 'SYS_ADMIN'], 'denied-capabilities'],
    [['--cap-add', 'ALL'], 'denied-capabilities'],
    [['--device', '/dev/null'], 'deny-devices'],
    [['--device-cgroup-rule', 'c 1:3 rwm'], 'deny-devices'],
    [['--security-opt', 'seccomp=unconfined'], 'deny-unconfined'],
    [['--security-opt', 'systempaths=unconfined'], 'deny-unconfined'],
  ])('run %j', async (options, rule) => {
    const { code, stderr } = await docker(['run', '--rm', ...options, busybox, 'true']);
    expect(code).toBe(125);
    expect(stderr).toContain(`policy ${rule}: `);
    expect(stderr).toContain('does not let uid 0 do so');
  });

  test.each([
    [['start', 'strong'], 'deny-privileged'],
    [['restart', 'strong'], 'deny-privileged'],
    [['exec', 'strong', 'true'], 'deny-privileged'],
    [['exec', '--privileged', 'weak', 'true'], 'deny-privileged'],
    [['cp', 'strong:/host-etc/hostname', '-'], 'deny-privileged'],
    [['volume', 'create', '-o', 'type=none', '-o', 'o=bind', '-o', 'device=/etc', 'sly'], 'allowed-bind-sources'],
    [['pull', 'registry.example.com/library/x'], 'allowed-registries'],
    [['pull', 'docker.io/libraryevil/x'], 'allowed-registries'],
    [['import', '/etc/hostname'], 'allowed-registries'],
  ])('%j', async (args, rule) => {
    const { code, stderr } = await docker(args);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`policy ${rule}: `);
  });

  test('what shows a folder of the host, or takes processes from one', async () => {
    const refused = async (method: string, path: string) => (await engine.api<{ message: string }>(method, path)).body;
    const shown = '/v1.51/tare/volumes/shown/archive';
    expect((await refused('GET', shown)).message).toContain('policy allowed-bind-sources: volume shown shows /etc');
    expect((await refused('PUT', shown)).message).toContain('policy allowed-bind-sources: ');
    const start = `/v1.51/containers/weak/start?checkpoint=made&checkpoint-dir=${encodeURIComponent(srv)}`;
    expect((await refused('POST', start)).message).toContain(`policy deny-privileged: a checkpoint in ${srv}`);
  });

  test('attach', async () => {
    // Docker's client does not show the message.
    expect((await docker(['attach', '--no-stdin', 'strong'])).stderr).toContain('received 403');
  });

  test('what the rules leave goes on', async () => {
    const options = [
      '-v',
      `${srv}/inside:/data`,
      '--security-opt',
      'no-new-privileges',
      '--cap-drop',
      'ALL',
      '-v',
      'plain:/v',
    ];
    expect((await docker(['run', '--rm', ...options, busybox, 'cat', '/data/file'])).stdout).toBe('inside');
    expect((await docker(['exec', 'weak', 'cat', '/data/file'])).stdout).toBe('inside');
  });
});

/** Sends a create as raw bytes. @returns the status, and what was made */
async function create(
  body: string,
  head = '',
  path = '/v1.51/containers/create',
): Promise<{ status: number; made?: Made }> {
  const connection = new RawConnection(engine.socket);
  const length = head.includes('chunked') ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  connection.socket.write(
    `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n${length}${head}\r\n${body}`,
  );
  const answer = await connection.end();
  const status = Number(/^HTTP\/1.1 (\d+)/.exec(answer)?.[1]);
  const id = /"Id":"([0-9a-f]{64})"/.exec(answer)?.[1];
  if (id === undefined) return { status };
  return { status, made: (await engine.api<Made>('GET', `/v1.51/containers/${id}/json`)).body };
}

interface Made {
  HostConfig: { Privileged: boolean; NetworkMode: string; CapAdd: string[] | null; Binds: string[] | null };
}

const image = `"Image":"${busybox}"`;
const chunked = (body: string) => `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;

describe('however the request is written', () => {
  test.each([
    ['plainly', `{${image},"HostConfig":{"Privileged":true}}`],
    ['a key twice, the last one true', `{${image},"HostConfig":{"Privileged":false,"Privileged":true}}`],
    ['a key twice, the first one true', `{${image},"HostConfig":{"Privileged":true,"Privileged":false}}`],
    ['an object twice', `{${image},"HostConfig":{"Privileged":true},"HostConfig":{"CapAdd":["SYS_ADMIN"]}}`],
    ['in other letters', `{${image},"hostconfig":{"privileged":true}}`],
    ['in both', `{${image},"HostConfig":{"Privileged":false,"PRIVILEGED":true}}`],
    ['escaped', `{${image},"Host\\u0043onfig":{"Pri\\u0076ileged":true}}`],
    [
      'with a key that is no key',
      `{${image},"__proto__":{"HostConfig":{"Privileged":true}},"HostConfig":{"__proto__":{"Privileged":true}}}`,
    ],
    ['a capability in small letters', `{${image},"HostConfig":{"CapAdd":["sys_admin"]}}`],
    ['a capability with its prefix', `{${image},"HostConfig":{"CapAdd":["cap_SYS_ADMIN"]}}`],
    ['a bind through ..', `{${image},"HostConfig":{"Binds":["/tmp/../etc:/x"]}}`],
    [
      'a mount through ..',
      `{${image},"HostConfig":{"Mounts":[{"Type":"bind","Source":"SRV/../../../etc","Target":"/x"}]}}`,
    ],
    [
      'another name of the host network',
      `{${image},"HostConfig":{"NetworkMode":"host"},"NetworkingConfig":{"EndpointsConfig":{"host":{}}}}`,
    ],
  ])('%s', async (_how, text) => {
    const body = text.replaceAll('SRV', srv);
    for (const { status, made } of [
      await create(body),
      await create(chunked(body), 'Transfer-Encoding: chunked\r\n'),
      await create(body, '', '/containers/create'),
      await create(body, '', '/v1.24/containers/create'),
      await create(body, 'X-HTTP-Method-Override: GET\r\n', '/v1.51/containers%2fcreate'),
    ]) {
      expect(status).toBeGreaterThanOrEqual(201);
      // Made, if at all, without what was not meant.
      if (made === undefined) continue;
      expect(made.HostConfig).toMatchObject({ Privileged: false, CapAdd: null, Binds: null });
      expect(made.HostConfig.NetworkMode).not.toBe('host');
    }
  });

  test('a link that leads out is not followed, and neither is one that is put there afterwards', async () => {
    const out = await docker(['run', '--rm', '-v', `${srv}/out:/x`, busybox, 'cat', '/x/passwd']);
    expect(out.stderr).toContain('policy allowed-bind-sources: the container binds /etc');
    await docker(['create', '--name', 'swapped', '-v', `${srv}/inside:/x`, busybox, 'cat', '/x/passwd']);
    renameSync(join(srv, 'inside'), join(srv, 'moved'));
    symlinkSync('/etc', join(srv, 'inside'));
    const { stderr } = await docker(['start', '-a', 'swapped']);
    expect(stderr).toContain('leads out');
    const copied = await docker(['cp', 'swapped:/x/passwd', '-']);
    expect(copied.code).not.toBe(0);
  });
});

describe('builds', () => {
  const build = async (dockerfile: string, args: string[], classic = false) => {
    const folder = join(engine.root, 'building');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'Dockerfile'), dockerfile);
    const env: Record<string, string> = classic ? { DOCKER_BUILDKIT: '0' } : {};
    return await engine.docker(['build', ...args, folder], { expect: 'any', env });
  };
  const own = `FROM ${busybox}\nRUN echo done > /f\n`;
  test.each([
    ['the host’s network', true, own, ['--network', 'host'], 'deny-host-namespaces'],
    ['the host’s network', false, own, ['--allow', 'network.host'], 'deny-host-namespaces'],
    ['privilege', false, own, ['--allow', 'security.insecure'], 'deny-privileged'],
    ['another registry', true, 'FROM registry.example.com/library/x\n', [], 'allowed-registries'],
    ['another registry', false, 'FROM registry.example.com/library/x\n', [], 'allowed-registries'],
    ['a cache of another registry', true, own, ['--cache-from', 'registry.example.com/x'], 'allowed-registries'],
    ['a cache of another registry', false, own, ['--cache-from', 'registry.example.com/x'], 'allowed-registries'],
    ['a stage of another registry', false, `${own}COPY --from=registry.example.com/x / /\n`, [], 'allowed-registries'],
  ])('%s, refused (classic: %s)', async (_what, classic, dockerfile, args, rule) => {
    const { code, stderr } = await build(dockerfile, args, classic);
    expect(code).not.toBe(0);
    expect(stderr).toContain(`policy ${rule}: `);
    expect(stderr).toContain('does not let uid 0 do so');
  });

  test('BuildKit’s own socket knows its caller, too', async () => {
    const { control } = buildkitClient(join(engine.execRoot, 'buildkitd.sock'));
    const asked = { Ref: 'by-hand', Frontend: 'dockerfile.v0', Entitlements: ['security.insecure'] };
    await expect(control.solve(asked)).rejects.toThrow(/policy deny-privileged: .* does not let uid 0 do so/);
  });

  test('what the rules leave is built, and told in the audit log without what may be secret', async () => {
    const secret = 'whispered-to-the-build';
    const args = ['--build-arg', `TOKEN=${secret}`, '--label', `a=${secret}`];
    expect((await build(own, [...args, '-t', 'ours:classic'], true)).code).toBe(0);
    expect((await build(own, [...args, '-t', 'ours:buildx'])).code).toBe(0);
    const text = readFileSync(auditLog, 'utf8');
    expect(text).not.toContain(secret);
    const entries = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as AuditEntry);
    const caller = { kind: 'user', uid: 0 };
    expect(entries.findLast(({ route }) => route === '/build')).toMatchObject({
      ...{ caller, status: 200, query: { t: 'ours:classic' } },
      subject: { arguments: ['TOKEN'], exporters: [{ type: 'image', name: 'ours:classic' }] },
    });
    const solved = entries.filter(({ route }) => route === '/moby.buildkit.v1.Control/Solve');
    expect(solved.at(-1)).toMatchObject({ caller, status: 200, subject: { build: expect.any(String) } });
    expect(JSON.stringify(solved)).toContain('ours:buildx');
    expect(solved.find(({ status }) => status === 403)?.refusal).toContain('policy deny-host-namespaces');
  });
});

test('the audit log says who asked for what, and no secret', async () => {
  const secret = 'hunter2-of-the-test';
  await docker(['run', '-d', '--name', 'told', '-e', `TOKEN=${secret}`, busybox, 'sh', '-c', 'sleep 1000', secret]);
  expect((await docker(['exec', '-e', `TOKEN=${secret}`, 'told', 'echo', 'done'])).stderr).toBe('');
  const auth = Buffer.from(JSON.stringify({ username: 'u', password: secret })).toString('base64url');
  const connection = new RawConnection(engine.socket);
  connection.socket.write(
    `POST /v1.51/images/create?fromImage=registry.example.com%2Fx&tag=1&secret=${secret} HTTP/1.1\r\nHost: x\r\nX-Registry-Auth: ${auth}\r\nConnection: close\r\n\r\n`,
  );
  await connection.end();
  const text = readFileSync(auditLog, 'utf8');
  expect(text).not.toContain(secret);
  expect(text).not.toContain(auth);
  expect(statSync(auditLog).mode & 0o777).toBe(0o600);
  const entries = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as AuditEntry);
  const created = entries.findLast(({ route, query }) => route === '/containers/create' && query?.['name'] === 'told');
  expect(created).toMatchObject({
    caller: { kind: 'user', uid: 0, gid: 0, pid: expect.any(Number) },
    method: 'POST',
    status: 201,
    subject: { name: 'told', image: busybox, env: expect.arrayContaining(['TOKEN']) },
  });
  expect(entries.findLast(({ route }) => route === '/containers/:id/start')?.subject).toMatchObject({ name: 'told' });
  expect(entries.findLast(({ route }) => route === '/containers/:id/exec')?.subject).toMatchObject({ program: 'echo' });
  const refused = entries.filter(({ status }) => status === 403);
  expect(refused.length).toBeGreaterThan(20);
  expect(refused.find(({ subject }) => subject?.['privileged'] === true)?.refusal).toContain('policy deny-privileged');
  expect(entries.at(-1)).toMatchObject({
    route: '/images/create',
    query: { fromImage: 'registry.example.com/x', tag: '1' },
    status: 403,
  });
});
