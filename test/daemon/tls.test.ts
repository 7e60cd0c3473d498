import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Certificate, makeCertificate } from '../support/certificates.ts';
import { busybox, TestEngine } from '../support/engine.ts';

const authority = makeCertificate({ commonName: 'authority', isAuthority: true });
const server = makeCertificate({ commonName: 'engine', issuer: authority });
const client = makeCertificate({ commonName: 'ci', issuer: authority });
const stranger = makeCertificate({ commonName: 'ci' });

const HOST = '127.0.0.1:2376';
let engine: TestEngine;
let folder: string;

/** A folder as docker's client wants it in DOCKER_CERT_PATH. */
function certificatesIn(name: string, own: Certificate | undefined, ca: Certificate = authority): string {
  const path = join(engine.root, name);
  mkdirSync(path);
  writeFileSync(join(path, 'ca.pem'), ca.cert);
  if (own !== undefined) {
    writeFileSync(join(path, 'cert.pem'), own.cert);
    writeFileSync(join(path, 'key.pem'), own.key, { mode: 0o600 });
  }
  return path;
}

beforeAll(async () => {
  engine = await TestEngine.start({ face: 'in-process' });
  folder = certificatesIn('server', server);
  certificatesIn('client', client);
  certificatesIn('stranger', stranger);
  certificatesIn('nobody', undefined);
  const files = ['--tlscacert', `${folder}/ca.pem`, '--tlscert', `${folder}/cert.pem`, '--tlskey', `${folder}/key.pem`];
  await engine.serve(['-H', `tcp://${HOST}`, '--tlsverify', ...files, '--group', '0', '--socket-mode', '0600']);
});

afterAll(() => engine[Symbol.asyncDispose]());

const environment = (who: string) => ({
  DOCKER_HOST: `tcp://${HOST}`,
  DOCKER_TLS_VERIFY: '1',
  DOCKER_CERT_PATH: join(engine.root, who),
});

describe.each(['docker', 'tare'] as const)('%s over TLS', (program) => {
  const call = (args: string[], options: { env: Record<string, string>; expect?: 'any'; input?: string }) =>
    program === 'docker' ? engine.docker(args, options) : engine.run([join(engine.home, 'bin/tare'), ...args], options);

  test('runs, with the end of its input and its exit code', async () => {
    const { stdout, code } = await call(['run', '-i', '--rm', busybox, 'sh', '-c', 'wc -c; exit 7'], {
      env: environment('client'),
      expect: 'any',
      input: 'x'.repeat(200_000),
    });
    expect([code, stdout.trim()]).toEqual([7, '200000']);
  });

  test('execs, attaches and copies', async () => {
    const env = environment('client');
    await call(['run', '-d', '--name', `long-${program}`, busybox, 'sleep', '1000'], { env });
    const { stdout } = await call(['exec', '-i', `long-${program}`, 'cat'], { env, input: 'through the exec' });
    expect(stdout).toBe('through the exec');
    const file = join(engine.root, `file-${program}`);
    writeFileSync(file, 'copied');
    await call(['cp', file, `long-${program}:/copied`], { env });
    expect((await call(['exec', `long-${program}`, 'cat', '/copied'], { env })).stdout).toBe('copied');
    await call(['rm', '-f', `long-${program}`], { env });
  });

  test.each(['stranger', 'nobody'])('a client with the certificate of %s is turned away', async (who) => {
    const { code, stderr } = await call(['ps'], { env: environment(who), expect: 'any' });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/certificate|tls|alert|broken pipe|connection reset/i);
  });

  test('a daemon that another authority signed is not believed', async () => {
    const path = certificatesIn(`wary-${program}`, client, stranger);
    const env = { ...environment('client'), DOCKER_CERT_PATH: path };
    const { code, stderr } = await call(['ps'], { env, expect: 'any' });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/certificate|verify/i);
  });
});

test('tare build over TLS: a folder goes there, and the result comes back', async () => {
  const context = join(engine.root, 'context');
  mkdirSync(context);
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY big /\n');
  writeFileSync(join(context, 'big'), 'x'.repeat(3_000_000));
  const out = join(context, 'out');
  const build = [join(engine.home, 'bin/tare'), 'build', '--output', `type=local,dest=${out}`, context];
  await engine.run(build, { env: environment('client') });
  expect(statSync(join(out, 'big')).size).toBe(3_000_000);
});

test('flags say the same as the environment, and so does a context of docker', async () => {
  const program = join(engine.home, 'bin/tare');
  const own = join(engine.root, 'client');
  const flags = [
    '--tlsverify',
    '--tlscacert',
    `${own}/ca.pem`,
    '--tlscert',
    `${own}/cert.pem`,
    '--tlskey',
    `${own}/key.pem`,
  ];
  const byFlags = await engine.run([program, '-H', `tcp://${HOST}`, ...flags, 'info', '-f', '{{.OSType}}']);
  expect(byFlags.stdout).toBe('linux\n');
  const endpoint = `host=tcp://${HOST},ca=${own}/ca.pem,cert=${own}/cert.pem,key=${own}/key.pem`;
  await engine.docker(['context', 'create', 'remote', '--docker', endpoint]);
  const env = { DOCKER_CONFIG: join(engine.root, 'docker-config') };
  const byContext = await engine.run([program, '--context', 'remote', 'info', '-f', '{{.OSType}}'], { env });
  expect(byContext.stdout).toBe('linux\n');
  const missing = await engine.run([program, '-c', 'nosuch', 'ps'], { env, expect: 1 });
  expect(missing.stderr).toContain('docker context create');
});

test('less than TLS 1.2, and plain HTTP, are not spoken', async () => {
  const port = String(HOST.split(':')[1]);
  const old = await engine.run(
    ['openssl', 's_client', '-connect', HOST, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0', '-verify_return_error'],
    { expect: 'any', input: '' },
  );
  expect(old.stdout + old.stderr).toMatch(/alert|no protocols available|unsupported protocol/i);
  const plain = await engine.run(['curl', '-sS', `http://127.0.0.1:${port}/_ping`], { expect: 'any' });
  expect(plain.code).not.toBe(0);
});

const curl = (...args: string[]) => {
  const own = join(engine.root, 'client');
  const tls = ['--cacert', `${own}/ca.pem`, '--cert', `${own}/cert.pem`, '--key', `${own}/key.pem`];
  return engine.run(['curl', '-sS', ...tls, '-w', '\n%{http_code}', ...args]);
};

test.each([
  [[], '200'],
  [['-H', 'Host: localhost'], '200'],
  [['-H', 'Host: evil.example.com'], '403'],
  [['-H', 'Host: 127.0.0.1.evil.example.com:2376'], '403'],
  [['-H', 'Host: 10.0.0.1:2376'], '403'],
  [['-H', 'Host: localhost@evil.example.com'], '403'],
  [['-H', 'Origin: https://evil.example.com'], '403'],
  [['-H', 'Origin: null'], '403'],
])('a browser led here by %j gets %s', async (headers, status) => {
  const { stdout } = await curl(...headers, `https://${HOST}/v1.51/info`);
  expect(stdout.split('\n').at(-1)).toBe(status);
});

test('a hijacked connection is refused as well', async () => {
  const upgrade = ['-H', 'Connection: Upgrade', '-H', 'Upgrade: tcp', '-H', 'Origin: https://evil.example.com'];
  const { stdout } = await curl('-X', 'POST', ...upgrade, `https://${HOST}/v1.51/containers/x/attach?stream=1`);
  expect(stdout).toMatch(/not answered.*\n403$/s);
});

test('the socket has the group and mode that were asked for', () => {
  const { mode, gid } = statSync(engine.socket);
  expect([(mode & 0o777).toString(8), gid]).toEqual(['600', 0]);
});

describe('refusals', () => {
  test.each([
    [['-H', 'tcp://127.0.0.1:3375', '--insecure-tcp', 'tcp://127.0.0.1:3376'], /say the address once more/],
    [['-H', 'tcp://127.0.0.1:3375', '--tls'], /whoever reaches that port is root/],
    [['-H', 'tcp://127.0.0.1:3375', '--tlsverify', '--tlscert', '/nosuch'], /cannot read the certificate.*\/nosuch/],
    [['--socket-mode', '0666'], /lets every user of this host be root/],
    [['--socket-mode', 'rw'], /octal/],
  ])('serve refuses %j', async (flags, message) => {
    const { stderr } = await engine.tare(['serve', ...flags], { expect: 1 });
    expect(stderr).toMatch(message);
  });
});
