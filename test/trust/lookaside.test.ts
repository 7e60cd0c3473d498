import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { nothing } from '../../src/engine/image-archives.fixture.ts';
import { verifyImage } from '../../src/engine/signing.ts';
import { parseReference } from '../../src/image/index.ts';
import { GpgHome } from '../../src/image/trust/gpg.fixture.ts';
import { lookasideOf } from '../../src/image/trust/lookaside.ts';
import { execute } from '../support/execute.ts';
import { openTrustLab, type TrustLab } from './trust-lab.ts';

let home: GpgHome;
let ours: string;
let theirs: string;
beforeAll(() => {
  home = new GpgHome();
  ours = home.addKey('ours@example.com');
  theirs = home.addKey('theirs@example.com', 'ed25519');
});
afterAll(() => home[Symbol.dispose]());

const reject = [{ type: 'reject' }];
const signedBy = (key: string, more: object = {}) => [
  { type: 'signedBy', keyType: 'GPGKeys', keyData: home.publicKey(key).toString('base64'), ...more },
];
const docker = (lab: TrustLab, requirements: object[]) => ({
  default: reject,
  transports: { docker: { [lab.proxy.address]: requirements } },
});

const configure = (lab: TrustLab, url: string, file = 'own.yaml') =>
  writeFileSync(join(lab.lookasides, file), `docker:\n  ${lab.proxy.address}:\n    lookaside: ${url}\n`);

/** Has skopeo copy an image inside of the registry and sign what it writes. @returns where the signatures lie */
async function skopeoSign(lab: TrustLab, from: string, to: string, key: string): Promise<string> {
  const store = join(lab.root, 'signatures');
  const [folder, policy] = [join(lab.root, 'skopeo.d'), join(lab.root, 'skopeo.json')];
  mkdirSync(folder, { recursive: true });
  writeFileSync(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }));
  writeFileSync(join(folder, 'own.yaml'), `default-docker:\n  lookaside: file://${store}\n`);
  const tls = ['--src-tls-verify=false', '--dest-tls-verify=false'];
  await execute(
    [
      'skopeo',
      '--policy',
      policy,
      '--registries.d',
      folder,
      'copy',
      ...tls,
      '--remove-signatures',
      '--sign-by',
      key,
      `docker://${lab.at(from)}`,
      `docker://${lab.at(to)}`,
    ],
    { env: { GNUPGHOME: home.folder } },
  );
  return store;
}

/** A server of a folder, as anybody has one. */
async function serve(
  folder: string,
  answer?: (path: string) => { status: number; bytes?: Buffer } | undefined,
): Promise<{ url: string; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(request.url!);
    asked.push(path);
    const own = answer?.(path);
    const file = join(folder, path);
    const status = own?.status ?? (existsSync(file) ? 200 : 404);
    response.writeHead(status).end(own?.bytes ?? (status === 200 ? readFileSync(file) : ''));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

describe('what skopeo signed', () => {
  test('pulled by policy from a folder, run without the registry, verified by command', async () => {
    const lab = await openTrustLab();
    await lab.seed('team/app', 'in');
    const store = await skopeoSign(lab, 'team/app:in', 'team/app:1', ours);
    configure(lab, `file://${store}`);
    lab.setPolicy(docker(lab, signedBy(ours)));
    await lab.pull('team/app:1');
    lab.proxy.add({ fault: { kind: 'refuse' } });
    rmSync(store, { recursive: true });
    expect(await lab.run(lab.at('team/app:1'))).toBe('');
    const found = await verifyImage(lab.parts, lab.at('team/app:1'), {
      signers: { by: 'gpg', keyrings: [home.publicKey(ours)] },
      annotations: {},
    });
    expect(found.signatures).toMatchObject([{ format: 'simple', key: ours, reference: lab.at('team/app:1') }]);
    lab.setPolicy(docker(lab, signedBy(theirs)));
    expect(await lab.run(lab.at('team/app:1'))).toMatch(/not in the keyring/);
  });

  test('from a server, with a second signature', async () => {
    const lab = await openTrustLab();
    await lab.seed('team/app', 'in');
    const store = await skopeoSign(lab, 'team/app:in', 'team/app:1', theirs);
    const [image] = readdirSync(join(store, 'team'));
    cpSync(join(store, 'team', image!, 'signature-1'), join(lab.root, 'theirs'));
    await skopeoSign(lab, 'team/app:in', 'team/app:1', ours);
    cpSync(join(lab.root, 'theirs'), join(store, 'team', image!, 'signature-2'));
    const { url, asked } = await serve(store);
    configure(lab, url);
    lab.setPolicy(docker(lab, [...signedBy(ours), ...signedBy(theirs)]));
    await lab.pull('team/app:1');
    expect(asked).toEqual([1, 2, 3].map((n) => `/team/${image}/signature-${n}`));
    expect((await lab.images.signed(lab.at('team/app:1'))).signatures).toHaveLength(2);
    // Registries are not asked for what this policy does not want.
    expect(lab.proxy.requests.filter(({ path }) => path.endsWith('.sig') || path.includes('referrers'))).toEqual([]);
  });

  test('a pull that is given up waits for no server of signatures', async () => {
    const lab = await openTrustLab();
    await lab.seed('app', '1');
    const asked = Promise.withResolvers<void>();
    const server = createServer(() => asked.resolve()).listen(0, '127.0.0.1');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    await once(server, 'listening');
    configure(lab, `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    lab.setPolicy(docker(lab, signedBy(ours)));
    const abort = new AbortController();
    const pulling = Array.fromAsync(lab.images.pull(lab.at('app:1'), { signal: abort.signal }));
    pulling.catch(() => {});
    await asked.promise;
    abort.abort(new Error('enough'));
    await expect(pulling).rejects.toThrow('enough');
    expect(await lab.inventory()).toEqual(nothing);
  });

  test.each([
    { what: 'another key', by: () => theirs, tag: '1', want: /not in the keyring/ },
    { what: 'another tag', by: () => ours, tag: '2', want: /app:2, which matchRepoDigestOrExact/ },
  ])('refused for $what', async ({ by, tag, want }) => {
    const lab = await openTrustLab();
    await lab.seed('app', 'in');
    configure(lab, `file://${await skopeoSign(lab, 'app:in', `app:${tag}`, by())}`);
    await lab.seed('app', '1');
    lab.setPolicy(docker(lab, signedBy(ours)));
    await expect(lab.pull('app:1')).rejects.toThrow(want);
    expect(await lab.inventory()).toEqual(nothing);
  });

  test('refused when it is moved to another image', async () => {
    const lab = await openTrustLab();
    await lab.seed('app', 'in');
    const store = await skopeoSign(lab, 'app:in', 'app:1', ours);
    const { manifest } = await lab.seed('app', '1', 'other');
    const [signed] = readdirSync(store);
    cpSync(join(store, signed!), join(store, `app@${manifest.digest.replace(':', '=')}`), { recursive: true });
    configure(lab, `file://${store}`);
    lab.setPolicy(docker(lab, signedBy(ours)));
    await expect(lab.pull('app:1')).rejects.toThrow(/the signature is for sha256:/);
  });
});

describe('a lookaside that is hostile or broken', () => {
  const film = Buffer.alloc(2 << 20);
  test.each([
    { what: 'no signature', answer: () => ({ status: 404 }), want: /it has no GPG signature/ },
    { what: 'an error', answer: () => ({ status: 500 }), want: /signature .*500/ },
    { what: 'a film', answer: () => ({ status: 200, bytes: film }), want: /more than 1048576 bytes/ },
    {
      what: 'signatures without end',
      answer: () => ({ status: 200, bytes: Buffer.from('x') }),
      want: /not a GPG message.*and 12\d more/,
    },
    {
      what: 'a sigstore signature',
      answer: (path: string) =>
        path.endsWith('-1') ? { status: 200, bytes: Buffer.from('\0sigstore-json\n{}') } : { status: 404 },
      want: /signature: mimeType.*no GPG signature/,
    },
  ])('answers with $what', async ({ answer, want }) => {
    const lab = await openTrustLab();
    await lab.seed('app', '1');
    const { url, asked } = await serve(lab.root, answer);
    configure(lab, url);
    lab.setPolicy(docker(lab, signedBy(ours)));
    await expect(lab.pull('app:1')).rejects.toThrow(want);
    expect(asked.length).toBeLessThanOrEqual(128);
    expect(await lab.inventory()).toEqual(nothing);
  });

  test('is not there', async () => {
    const lab = await openTrustLab();
    await lab.seed('app', '1');
    configure(lab, 'http://127.0.0.1:1');
    lab.setPolicy(docker(lab, signedBy(ours)));
    await expect(lab.pull('app:1')).rejects.toMatchObject({ kind: 'Unavailable' });
  });
});

describe('registries.d', () => {
  const url = async (files: Record<string, string>, name = 'a.example/b/c:1') => {
    const lab = await openTrustLab();
    for (const [file, text] of Object.entries(files)) writeFileSync(join(lab.lookasides, file), text);
    return (await lookasideOf(lab.lookasides, parseReference(name))).url?.href;
  };
  const section = (scope: string, to: string) => `docker:\n  ${scope}:\n    lookaside: ${to}\n`;

  test.each<{ what: string; files: Record<string, string>; want: string | undefined }>([
    { what: 'the host', files: { 'a.yaml': section('a.example', 'https://one/') }, want: 'https://one/' },
    {
      what: 'the most specific',
      files: { 'a.yaml': section('a.example', 'https://one/'), 'b.yaml': section('a.example/b', 'https://two/') },
      want: 'https://two/',
    },
    {
      what: 'the old name',
      files: { 'a.yaml': 'docker:\n  a.example:\n    sigstore: https://one/\n' },
      want: 'https://one/',
    },
    {
      what: 'the default',
      files: { 'a.yaml': 'default-docker:\n  lookaside: file:///srv/s\n' },
      want: 'file:///srv/s',
    },
    {
      what: 'nothing for this one',
      files: { 'a.yaml': 'docker:\n  a.example:\n    use-sigstore-attachments: true\n' },
      want: undefined,
    },
    {
      what: 'no file: containers/image’s own place',
      files: { 'a.txt': 'no yaml' },
      want: 'file:///var/lib/containers/sigstore',
    },
    {
      what: 'another host',
      files: { 'a.yaml': section('a.example:5000', 'https://one/') },
      want: 'file:///var/lib/containers/sigstore',
    },
  ])('$what', async ({ files, want }) => expect(await url(files)).toBe(want));

  test.each([
    { what: 'no YAML', text: 'a: [', want: /a\.yaml: / },
    { what: 'a list', text: '- a', want: /want an object/ },
    { what: 'another field', text: 'dockers: {}', want: /unknown field "dockers"/ },
    { what: 'a field of a section', text: 'default-docker:\n  look: x\n', want: /unknown field "look"/ },
    { what: 'no URL', text: section('x', 'nowhere'), want: /want a http, https or file URL/ },
    { what: 'another scheme', text: section('x', 'ftp://x/y'), want: /want a http, https or file URL/ },
    { what: 'a key twice', text: 'docker: {}\ndocker: {}\n', want: /a\.yaml: / },
    { what: 'aliases', text: 'docker: &a\n  x: &b {}\ndefault-docker: *b\n', want: /a\.yaml: / },
  ])('refuses $what', async ({ text, want }) => {
    await expect(url({ 'a.yaml': text })).rejects.toThrow(want);
  });

  test('refuses one scope in two files', async () => {
    const files = { 'a.yaml': section('x.example', 'https://one'), 'b.yaml': section('x.example', 'https://two') };
    await expect(url(files)).rejects.toThrow(/stands in another file already/);
  });
});
