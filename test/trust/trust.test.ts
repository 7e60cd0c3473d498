import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { busybox } from '../support/engine.ts';
import { withEngine } from '../support/faces.ts';
import { busyboxEntries } from '../support/image.ts';
import { startRegistry, type TestRegistry } from '../support/registry.ts';
import { tunnel } from '../support/registry-tunnel.ts';
import { tar } from '../support/tar.ts';

const accept = [{ type: 'insecureAcceptAnything' }];
const reject = [{ type: 'reject' }];

describe.each(['docker', 'in-process'] as const)('trust, through %s', (face) => {
  const folder = mkdtempSync(join(tmpdir(), 'tare-trust-'));
  const policy = join(folder, 'policy.json');
  const setPolicy = (document: object) => writeFileSync(policy, JSON.stringify(document));
  setPolicy({ default: accept });
  const flags = ['--signature-policy', policy];
  const engine = withEngine({ face, serve: flags });
  const open: AsyncDisposable[] = [];
  let registry: TestRegistry;
  let image: (name: string) => string;
  const env = { COSIGN_PASSWORD: 'secret' };
  const cli = (...args: string[]) =>
    face === 'docker' ? engine().docker(args) : engine().tare([...flags, ...args], { env });
  const refused = async (...args: string[]) => {
    const [argv, run] =
      face === 'docker' ? [args, engine().docker.bind(engine())] : [[...flags, ...args], engine().tare.bind(engine())];
    const { code, stderr } = await run(argv, { expect: 'any' });
    expect(code).not.toBe(0);
    return stderr;
  };
  const tare = (...args: string[]) => engine().tare([...flags, 'image', ...args], { env, cwd: folder });
  const fails = async (...args: string[]) => {
    const { code, stderr } = await engine().tare([...flags, 'image', ...args], { env, cwd: folder, expect: 'any' });
    return `${code}: ${stderr}`;
  };

  beforeAll(async () => {
    registry = await startRegistry();
    open.push(registry, await tunnel(engine(), registry.port));
    image = (name) => `${registry.address}/${name}`;
    // Another image than the one that was loaded.
    const layers = [tar(busyboxEntries()), tar([{ path: 'from', content: 'a registry' }])];
    for (const name of ['team/app', 'team/bare']) await registry.seed(name, '1', { layers });
    await tare('generate-key-pair');
  });
  afterAll(async () => {
    for (const one of open.reverse()) await one[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
  });
  const signed = () => ({
    default: reject,
    transports: {
      docker: { [image('team')]: [{ type: 'sigstoreSigned', keyPath: join(folder, 'cosign.pub') }] },
      'docker-archive': { '': accept },
    },
  });

  test('keys are made once, and the private one is its owner’s', async () => {
    expect(statSync(join(folder, 'cosign.key')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(folder, 'cosign.key'), 'utf8')).toMatch(
      /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n/,
    );
    const before = readFileSync(join(folder, 'cosign.pub'), 'utf8');
    expect(await fails('generate-key-pair')).toMatch(/^1: .*cosign\.key is there already/);
    expect(readFileSync(join(folder, 'cosign.pub'), 'utf8')).toBe(before);
  });

  test('sign and verify, in the registry', async () => {
    const name = `docker://${image('team/app:1')}`;
    expect(await fails('verify', '--key', 'cosign.pub', name)).toMatch(/^1: .*it has no sigstore signature/);
    const made = await tare('sign', '--key', 'cosign.key', '-a', 'build=7', name);
    expect(made.stderr).toMatch(/^Signed .*\/team\/app:1: sha256:[0-9a-f]{64} \(sha256-[0-9a-f]{64}\.sig\)\n$/);
    await tare('sign', '--key', 'cosign.key', '--as', 'referrer', '-a', 'build=8', name);
    const { stdout } = await tare('verify', '--key', 'cosign.pub', '--format', 'json', name);
    const found = JSON.parse(stdout);
    expect(found.signatures.map((one: { format: string; optional: object }) => [one.format, one.optional])).toEqual([
      ['cosign', { build: '7' }],
      ['bundle', { build: '8' }],
    ]);
    const text = (await tare('verify', '--key', 'cosign.pub', '-a', 'build=7', name)).stdout;
    expect(text).toContain(`Verified ${image('team/app:1')}: sha256:`);
    expect(text).toContain('build=7');
    expect(text).not.toContain('build=8');
    expect(await fails('verify', '--key', 'cosign.pub', '-a', 'build=9', name)).toMatch(/^1: .*annotations are others/);
    const wrong = { env: { COSIGN_PASSWORD: 'wrong' }, cwd: folder, expect: 1 };
    const denied = await engine().tare(['image', 'sign', '--key', 'cosign.key', name], wrong);
    expect(denied.stderr).toMatch(/the password is wrong/);
  });

  test('a signature that is kept nowhere but in a file', async () => {
    const name = `docker://${image('team/bare:1')}`;
    const out = ['--output-signature', 'app.sig', '--output-payload', 'app.json'];
    await tare('sign', '--key', 'cosign.key', '--upload=false', ...out, name);
    expect(JSON.parse(readFileSync(join(folder, 'app.json'), 'utf8')).critical.identity['docker-reference']).toBe(
      image('team/bare:1'),
    );
    writeFileSync(join(folder, 'app.bin'), Buffer.from(readFileSync(join(folder, 'app.sig'), 'utf8'), 'base64'));
    const openssl = ['openssl', 'dgst', '-sha256', '-verify', 'cosign.pub', '-signature', 'app.bin', 'app.json'];
    expect((await engine().run(openssl, { cwd: folder })).stdout).toBe('Verified OK\n');
    expect(await fails('verify', '--key', 'cosign.pub', name)).toMatch(/^1: /);
  });

  test('what a signer wrote does not reach the terminal as it is', async () => {
    await registry.seed('escape', '1', { layers: [tar([])] });
    const name = `docker://${image('escape:1')}`;
    await tare('sign', '--key', 'cosign.key', '-a', 'x=\x1b[2Jgone', name);
    expect((await tare('verify', '--key', 'cosign.pub', name)).stdout).toContain('x=\ufffd[2Jgone');
  });

  test.each([
    { args: ['verify', '--key', 'a', '--policy', 'b', 'x'], want: /exclude each other/ },
    { args: ['verify', '--certificate-identity', 'me', 'x'], want: /go together/ },
    { args: ['verify', '--format', 'xml', 'x'], want: /want text or json/ },
    { args: ['verify', '--key', '/nonexistent', 'x'], want: /--key: ENOENT/ },
    { args: ['sign', 'x'], want: /--key is required/ },
    { args: ['sign', '--key', 'cosign.key', '--as', 'note', 'x'], want: /want tag or referrer/ },
    { args: ['sign', '--key', 'cosign.key', '--tlog-upload', 'x'], want: /not recorded in a transparency log/ },
    { args: ['sign', '--key', 'cosign.key', 'nothing:1'], want: /No such image: nothing:1/ },
    { args: ['sign', '--key', 'cosign.pub', busybox], want: /not a private key/ },
  ])('refuses $args', async ({ args, want }) => {
    expect(await fails(...args)).toMatch(want);
  });

  test('the policy is asked at pull, create, start and load', async () => {
    setPolicy(signed());
    expect(await refused('pull', image('team/bare:1'))).toMatch(/team\/bare:1 is refused by the signature policy/);
    await cli('pull', image('team/app:1'));
    expect((await cli('run', '--rm', image('team/app:1'), 'echo', 'hi')).stdout).toBe('hi\n');
    const { stdout } = await cli('create', image('team/app:1'), 'true');
    const container = stdout.trim();
    // An archive of both formats passes as the one that is allowed.
    expect((await cli('run', '--rm', busybox, 'echo', 'loaded')).stdout).toBe('loaded\n');
    await cli('save', '-o', join(folder, 'app.tar'), busybox);
    setPolicy({ default: reject });
    expect(await refused('run', '--rm', image('team/app:1'), 'true')).toMatch(/scope default: reject/);
    expect(await refused('run', '--rm', busybox, 'true')).toMatch(/scope default: reject/);
    const never = await refused('start', container);
    expect(never).toMatch(/cannot run .*\/team\/app:1: .*scope default: reject/);
    expect(never).not.toMatch(/pull it again/);
    expect(await refused('load', '-i', join(folder, 'app.tar'))).toMatch(/archive is refused/);
    setPolicy(signed());
    await cli('start', container);
    await cli('rm', '-f', container);
    // A policy that cannot be read is none that could be passed.
    writeFileSync(policy, '{');
    expect(await refused('run', '--rm', busybox, 'true')).toMatch(/not valid JSON/);
    setPolicy({ default: accept });
    expect(existsSync(policy)).toBe(true);
  });

  test('a local image: signed, verified, and run only so', async () => {
    setPolicy({
      default: reject,
      transports: {
        'containers-storage': { '': [{ type: 'sigstoreSigned', keyPath: join(folder, 'cosign.pub') }] },
      },
    });
    expect(await refused('run', '--rm', busybox, 'true')).toMatch(/it has no sigstore signature/);
    const made = await tare('sign', '--key', 'cosign.key', busybox);
    expect(made.stderr).toMatch(/docker\.io\/library\/busybox:test: sha256:[0-9a-f]{64} \(kept here\)/);
    expect((await tare('verify', '--key', 'cosign.pub', busybox)).stdout).toContain('Signature: cosign of sha256:');
    await cli('run', '--rm', busybox, 'true');
    setPolicy({ default: accept });
    expect((await tare('verify', busybox)).stdout).toContain('It accepts the image without a signature.');
  });
});
