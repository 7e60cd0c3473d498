import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeCertificate } from '../support/certificates.ts';
import { busybox, TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';

const authority = makeCertificate({ commonName: 'authority', isAuthority: true });
const HOST = '127.0.0.1:2376';
let engine: TestEngine;
let file: string;

const certify = (commonName: string) => {
  const { cert, key } = makeCertificate({ commonName, issuer: authority });
  writeFileSync(join(engine.root, 'cert.pem'), cert);
  writeFileSync(join(engine.root, 'key.pem'), key);
};

const configure = (text: string) =>
  writeFileSync(
    file,
    `hosts = ["unix://${engine.socket}", "tcp://${HOST}"]\ntlsverify = true\ntlscacert = "${engine.root}/ca.pem"\n` +
      `tlscert = "${engine.root}/cert.pem"\ntlskey = "${engine.root}/key.pem"\n${text}`,
  );

beforeAll(async () => {
  engine = await TestEngine.start({ face: 'in-process' });
  file = join(engine.root, 'tare.toml');
  writeFileSync(join(engine.root, 'ca.pem'), authority.cert);
  certify('first');
  configure('labels = ["site=north"]\n');
  await engine.serve(['--config', file, '-H', `tcp://${HOST}`]);
});

afterAll(() => engine[Symbol.asyncDispose]());

const info = async (template: string) => (await engine.docker(['info', '-f', template])).stdout.trim();

/** The name on the certificate that the daemon shows now. */
async function shownCertificate(): Promise<string> {
  const { stdout, stderr } = await engine.run(['openssl', 's_client', '-connect', HOST], { expect: 'any', input: '' });
  return /subject=CN ?= ?(\S+)/.exec(stdout + stderr)?.[1] ?? '';
}

test('the API, the command line and SIGHUP have the file read again', async () => {
  expect(await info('{{json .Labels}} {{.Debug}} {{.LoggingDriver}}')).toBe('["site=north"] false json-file');
  expect(await shownCertificate()).toBe('first');
  configure('labels = ["site=south"]\ndebug = true\nlog-driver = "local"\nlog-opts = { max-size = "1m" }\n');
  certify('second');
  const { stdout } = await engine.tare(['system', 'reload']);
  expect(stdout).toBe('Changed: labels, debug, log-driver\n');
  expect(await info('{{json .Labels}} {{.Debug}} {{.LoggingDriver}}')).toBe('["site=south"] true local');
  expect(await shownCertificate()).toBe('second');

  configure('insecure-registries = ["registry.example.com"]\nstorage-driver = "vfs"\n');
  process.kill(engine.daemonPid, 'SIGHUP');
  await eventually('the signal is heeded', () => engine.daemonLog.includes('from the next start on: storage-driver'));
  expect(await info('{{json .Labels}} {{.Driver}}')).toBe('[] overlay');
  expect(await info('{{json .RegistryConfig.IndexConfigs}}')).toContain('registry.example.com');
  const since = ['--since', '1h', '--until', '0s', '--filter', 'event=reload', '--format', '{{json .}}'];
  const reloads = async () =>
    (await engine.docker(['events', ...since])).stdout.split('\n').filter((line) => line !== '');
  await eventually('both reloads are told of', async () => (await reloads()).length === 2);
  const told = (await reloads()).map((line) => JSON.parse(line));
  expect(told[0]).toMatchObject({
    Type: 'daemon',
    Action: 'reload',
    Actor: { Attributes: { labels: '["site=south"]', debug: 'true' } },
  });
});

test('new containers log as the file says, and as they say themselves', async () => {
  configure('log-driver = "json-file"\nlog-opts = { max-size = "1m", max-file = "2" }\n');
  await engine.tare(['system', 'reload']);
  const of = async (...options: string[]) => {
    const id = (await engine.docker(['create', ...options, busybox, 'true'])).stdout.trim();
    return JSON.parse((await engine.docker(['inspect', '-f', '{{json .HostConfig.LogConfig}}', id])).stdout);
  };
  expect(await of()).toEqual({ Type: 'json-file', Config: { 'max-file': '2', 'max-size': '1m' } });
  expect(await of('--log-opt', 'max-size=5m')).toEqual({
    Type: 'json-file',
    Config: { 'max-file': '2', 'max-size': '5m' },
  });
  expect(await of('--log-driver', 'none')).toEqual({ Type: 'none', Config: {} });
});

test.each([
  ['labels = "no list"\n', /labels: want a list/],
  ['labels = [\n', /configuration file/],
  ['no-such-key = 1\n', /unknown key "no-such-key"/],
  ['log-driver = "nosuch"\n', /no log driver named 'nosuch'/],
  ['[policy]\ndeny-everything = true\n', /policy: unknown key "deny-everything"/],
  ['default-runtime = "nosuch"\n', /default runtime "nosuch"/],
])('a file with %j changes nothing, and says why', async (text, why) => {
  configure('labels = ["kept=yes"]\n');
  await engine.tare(['system', 'reload']);
  configure(text);
  const { stderr } = await engine.tare(['system', 'reload'], { expect: 1 });
  expect(stderr).toMatch(why);
  expect((await engine.tare(['serve', '--config', file, '--validate'], { expect: 1 })).stderr).toMatch(why);
  expect(await info('{{json .Labels}}')).toBe('["kept=yes"]');
});

test('a certificate that does not fit its key changes nothing', async () => {
  configure('labels = ["kept=yes"]\n');
  certify('third');
  await engine.tare(['system', 'reload']);
  writeFileSync(join(engine.root, 'key.pem'), makeCertificate().key);
  expect((await engine.tare(['system', 'reload'], { expect: 1 })).stderr).toContain('TLS: ');
  expect(await shownCertificate()).toBe('third');
  certify('fourth');
  expect((await engine.tare(['serve', '--config', file, '--validate'])).stdout).toBe('configuration OK\n');
});

test('a reload breaks nothing that is at work', async () => {
  const work = Array.from({ length: 4 }, async () => {
    for (let round = 0; round < 4; round++) await engine.docker(['run', '--rm', busybox, 'true']);
  });
  for (let round = 0; round < 12; round++) {
    configure(`labels = ["round=${round}"]\nmax-concurrent-downloads = ${round + 1}\n`);
    await engine.tare(['system', 'reload']);
  }
  await Promise.all(work);
  expect(await info('{{json .Labels}}')).toBe('["round=11"]');
});

test('without a daemon there is nothing to reload', async () => {
  const { stderr } = await engine.run(
    [
      join(engine.home, 'bin/tare'),
      '--data-root',
      join(engine.root, 'd2'),
      '--exec-root',
      join(engine.root, 'r2'),
      'system',
      'reload',
    ],
    { expect: 1 },
  );
  expect(stderr).toContain('no daemon to reload');
});
