import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  blobFile,
  dockerFiles,
  imageOf,
  nothing,
  ociFiles,
  plainLayer,
  tarOf,
} from '../../src/engine/image-archives.fixture.ts';
import { verifyImage } from '../../src/engine/signing.ts';
import { here, openTrustLab, type TrustLab } from './trust-lab.ts';

const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    key: Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })),
    pem: Buffer.from(publicKey.export({ type: 'spki', format: 'pem' })),
  };
};
const [ours, theirs] = [pair(), pair()];
const reject = [{ type: 'reject' }];
const accept = [{ type: 'insecureAcceptAnything' }];
const sigstore = (pem: Buffer, more: object = {}) => [
  { type: 'sigstoreSigned', keyData: pem.toString('base64'), ...more },
];
const matchRepository = { signedIdentity: { type: 'matchRepository' } };
const docker = (lab: TrustLab, requirements: object[], more: object = {}) => ({
  default: reject,
  transports: { docker: { [lab.proxy.address]: requirements }, ...more },
});
const remote = (lab: TrustLab, name: string) => `docker://${lab.at(name)}`;

describe('pull', () => {
  test('what the policy rejects leaves nothing, and is told by scope and requirement', async () => {
    const lab = await openTrustLab();
    await lab.seed('team/app', '1');
    lab.setPolicy({ default: accept, transports: { docker: { [`${lab.at('team')}`]: reject } } });
    await expect(lab.pull('team/app:1')).rejects.toMatchObject({
      kind: 'Forbidden',
      message: `image ${lab.at('team/app:1')} is refused by the signature policy ${join(lab.root, 'policy.json')}, scope docker "${lab.at('team')}": reject: it rejects every image`,
    });
    expect(await lab.inventory()).toEqual(nothing);
    // No layer was asked for.
    expect(lab.proxy.requests.filter(({ path }) => path.includes('/blobs/'))).toEqual([]);
  });

  test.each(['tag', 'referrer'] as const)(
    'a signature as %s: kept with the image, so that it runs without the registry',
    async (as) => {
      const lab = await openTrustLab();
      const { manifest } = await lab.seed('team/app', '1');
      const made = await lab.sign(remote(lab, 'team/app:1'), { key: ours.key, as, annotations: { build: '7' } });
      expect(made.digest).toBe(manifest.digest);
      lab.setPolicy(docker(lab, sigstore(ours.pem)));
      await lab.pull('team/app:1');
      lab.proxy.add({ fault: { kind: 'refuse' } });
      expect(await lab.run(lab.at('team/app:1'))).toBe('');
      // A collection keeps them.
      const other = await lab
        .load(tarOf(ociFiles([{ image: imageOf([plainLayer({ x: '1' })]), name: 'other:1' }])))
        .catch(String);
      expect(other).toMatch(/scope default: reject/);
      await lab.images.reconcile(() => false);
      expect(await lab.run(lab.at('team/app:1'))).toBe('');
      const found = await verifyImage(lab.parts, lab.at('team/app:1'), {
        signers: { by: 'key', keys: [ours.pem] },
        annotations: { build: '7' },
      });
      expect(found.signatures).toMatchObject([
        { manifestDigest: manifest.digest, reference: lab.at('team/app:1'), optional: { build: '7' } },
      ]);
      // Another key, or none, and it does not start any more.
      lab.setPolicy(docker(lab, sigstore(theirs.pem)));
      expect(await lab.run(lab.at('team/app:1'))).toMatch(/was not made with the key.*pull it again/);
      lab.setPolicy(docker(lab, reject));
      expect(await lab.run(lab.images.resolve(lab.at('team/app:1')).id)).toMatch(/rejects every image/);
      // With the image its signatures go.
      await lab.images.remove(lab.at('team/app:1'));
      expect(await lab.inventory()).toEqual(nothing);
    },
  );

  test.each([
    { what: 'no signature', sign: async () => {}, want: /it has no sigstore signature/ },
    {
      what: 'another key’s',
      sign: (lab: TrustLab) => lab.sign(remote(lab, 'team/app:1'), { key: theirs.key }),
      want: /not made with the key/,
    },
    {
      what: 'one of another tag',
      sign: (lab: TrustLab) => lab.sign(remote(lab, 'team/app:2'), { key: ours.key }),
      want: /app:2, which matchRepoDigestOrExact/,
    },
    {
      what: 'one of another image, moved here',
      sign: async (lab: TrustLab) => {
        const other = await lab.seed('team/app', '3', 'other');
        const one = await lab.seed('team/app', '1');
        await lab.sign(remote(lab, 'team/app:3'), { key: ours.key });
        const tag = (digest: string) => `${digest.replace(':', '-')}.sig`;
        const stolen = await lab.registry.request('GET', `/v2/team/app/manifests/${tag(other.manifest.digest)}`, {
          accept: 'application/vnd.oci.image.manifest.v1+json',
        });
        await lab.registry.putManifest('team/app', JSON.parse(stolen.body.toString()), tag(one.manifest.digest));
      },
      want: /is for sha256:/,
    },
  ])('refuses an image with $what', async ({ sign, want }) => {
    const lab = await openTrustLab();
    await lab.seed('team/app', '1');
    await lab.seed('team/app', '2');
    await sign(lab);
    lab.setPolicy(docker(lab, sigstore(ours.pem)));
    await expect(lab.pull('team/app:1')).rejects.toThrow(want);
    expect(await lab.inventory()).toEqual(nothing);
  });

  test('two who must both have signed', async () => {
    const lab = await openTrustLab();
    await lab.seed('a', '1');
    lab.setPolicy(docker(lab, [...sigstore(ours.pem), ...sigstore(theirs.pem)]));
    await lab.sign(remote(lab, 'a:1'), { key: ours.key });
    await expect(lab.pull('a:1')).rejects.toThrow(/not made with the key/);
    await lab.sign(remote(lab, 'a:1'), { key: theirs.key });
    await lab.pull('a:1');
    expect(await lab.run(lab.at('a:1'))).toBe('');
    expect((await lab.images.signed(lab.at('a:1'))).signatures).toHaveLength(2);
  });

  test('an index: its own signature or that of the chosen manifest counts, another platform’s does not', async () => {
    const lab = await openTrustLab();
    const other = here === 'amd64' ? 'arm64' : 'amd64';
    const [mine, foreign] = [await lab.seed('m', undefined, 'mine'), await lab.seed('m', undefined, 'foreign', other)];
    const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
    await lab.registry.seedIndex('m', '1', [
      { ...mine.manifest, ...platform(here) },
      { ...foreign.manifest, ...platform(other) },
    ]);
    const unsigned = `${randomUUID()}`;
    await lab.registry.seedIndex('m', unsigned, [{ ...mine.manifest, ...platform(here) }]);
    lab.setPolicy(docker(lab, sigstore(ours.pem, matchRepository)));
    await lab.sign(remote(lab, `m@${foreign.manifest.digest}`), { key: ours.key });
    await expect(lab.pull('m:1')).rejects.toThrow(/no sigstore signature/);
    await lab.sign(remote(lab, 'm:1'), { key: ours.key });
    await lab.pull('m:1');
    expect(await lab.run(lab.at('m:1'))).toBe('');
    await expect(lab.pull(`m:${unsigned}`)).rejects.toThrow(/no sigstore signature/);
    await lab.sign(remote(lab, `m@${mine.manifest.digest}`), { key: ours.key });
    await lab.pull(`m:${unsigned}`);
    expect(await lab.run(lab.at(`m:${unsigned}`))).toBe('');
  });

  test('what came before the policy is refused until it is pulled again', async () => {
    const lab = await openTrustLab();
    await lab.seed('a', '1');
    await lab.sign(remote(lab, 'a:1'), { key: ours.key });
    lab.setPolicy({ default: accept });
    await lab.pull('a:1');
    expect((await lab.images.signed(lab.at('a:1'))).signatures).toEqual([]);
    lab.setPolicy(docker(lab, sigstore(ours.pem)));
    expect(await lab.run(lab.at('a:1'))).toMatch(/no sigstore signature.*pull it again/);
    await lab.pull('a:1');
    expect(await lab.run(lab.at('a:1'))).toBe('');
  });

  test('hostile signatures: too many, too large, damaged', async () => {
    const lab = await openTrustLab();
    const { manifest } = await lab.seed('a', '1');
    await lab.sign(remote(lab, 'a:1'), { key: ours.key });
    const tag = `${manifest.digest.replace(':', '-')}.sig`;
    const accepted = { accept: 'application/vnd.oci.image.manifest.v1+json' };
    const good = JSON.parse((await lab.registry.request('GET', `/v2/a/manifests/${tag}`, accepted)).body.toString());
    const film = await lab.registry.putBlob('a', Buffer.alloc(5 << 20), good.layers[0].mediaType);
    lab.setPolicy(docker(lab, sigstore(ours.pem)));
    // A layer that is too large is not fetched, and one that counts does.
    await lab.registry.putManifest('a', { ...good, layers: [film, ...good.layers] }, tag);
    const before = lab.proxy.requests.length;
    await lab.pull('a:1');
    expect(lab.proxy.requests.slice(before).filter(({ path }) => path.includes(film.digest))).toEqual([]);
    // Thousands before it: a bounded number is looked at.
    await lab.images.remove(lab.at('a:1'));
    const bad = { ...good.layers[0], annotations: { 'dev.cosignproject.cosign/signature': 'AAAA' } };
    await lab.registry.putManifest('a', { ...good, layers: [...Array(4000).fill(bad), ...good.layers] }, tag);
    const start = lab.proxy.requests.length;
    await expect(lab.pull('a:1')).rejects.toThrow(/4001 entries, at most \d+ are allowed/);
    await lab.registry.putManifest('a', { ...good, layers: [...Array(140).fill(bad), ...good.layers] }, tag);
    await expect(lab.pull('a:1')).rejects.toThrow(/not made with the key; .*; and \d+ more/);
    expect(lab.proxy.requests.length - start).toBeLessThan(200);
    // What the blob holds is not what its digest says.
    await lab.registry.putManifest('a', good, tag);
    lab.proxy.add({ path: new RegExp(good.layers[0].digest), fault: { kind: 'corrupt', atByte: 10 } });
    await expect(lab.pull('a:1')).rejects.toThrow(/damaged or not the ones named; it has no sigstore signature/);
    expect(await lab.inventory()).toEqual(nothing);
  });

  test('attestations beside a signature are not taken for one, nor fetched', async () => {
    const lab = await openTrustLab();
    const { manifest } = await lab.seed('a', '1');
    const bundleType = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    const empty = await lab.registry.putBlob('a', Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
    const provenance = await lab.registry.putBlob('a', Buffer.from('{"provenance":1}'), bundleType);
    const attestation = await lab.registry.putManifest('a', {
      ...{ schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', artifactType: bundleType },
      ...{ config: empty, layers: [provenance], subject: manifest },
      annotations: { 'dev.sigstore.bundle.predicateType': 'https://slsa.dev/provenance/v1' },
    });
    const { bytes: _, ...descriptor } = attestation;
    const annotations = { 'dev.sigstore.bundle.predicateType': 'https://slsa.dev/provenance/v1' };
    // Debian's registry has no referrers API, so the list is a tag.
    const listed = { ...descriptor, artifactType: bundleType, annotations };
    await lab.registry.seedIndex('a', manifest.digest.replace(':', '-'), [listed]);
    lab.setPolicy(docker(lab, sigstore(ours.pem)));
    await expect(lab.pull('a:1')).rejects.toThrow(/it has no sigstore signature/);
    expect(lab.proxy.requests.filter(({ path }) => path.includes(provenance.digest))).toEqual([]);
    await lab.sign(remote(lab, 'a:1'), { key: ours.key, as: 'referrer' });
    await lab.pull('a:1');
    expect(lab.proxy.requests.filter(({ path }) => path.includes(provenance.digest))).toEqual([]);
  });

  test('a registry that does not tell of signatures is not taken for one that has none', async () => {
    const lab = await openTrustLab();
    await lab.seed('a', '1');
    lab.setPolicy(docker(lab, sigstore(ours.pem)));
    lab.proxy.add({ path: /\.sig$/, fault: { kind: 'answer', status: 503 } });
    await expect(lab.pull('a:1')).rejects.toThrow(/503/);
    expect(await lab.inventory()).toEqual(nothing);
  });

  test('without a policy file that is configured nothing is pulled', async () => {
    const lab = await openTrustLab();
    await lab.seed('a', '1');
    await expect(lab.pull('a:1')).rejects.toThrow(/signature policy: ENOENT/);
    writeFileSync(join(lab.root, 'policy.json'), '{"default":[{"type":"reject"}],"defaults":[]}');
    await expect(lab.pull('a:1')).rejects.toThrow(/unknown field "defaults"/);
    expect(existsSync(join(lab.root, 'policy.json'))).toBe(true);
  });
});

describe('load', () => {
  const image = imageOf([plainLayer({ file: 'x' })]);
  const oci = ociFiles([{ image, name: 'docker.io/library/app:1' }]);
  const old = dockerFiles([{ image, names: ['app:1'] }]);
  const archives = { oci: tarOf(oci), docker: tarOf(old), both: tarOf({ ...old, ...oci }) };

  test.each([
    { archive: 'oci', allowed: 'oci-archive', fits: true },
    { archive: 'oci', allowed: 'docker-archive', fits: false },
    { archive: 'docker', allowed: 'docker-archive', fits: true },
    { archive: 'docker', allowed: 'oci-archive', fits: false },
    { archive: 'both', allowed: 'docker-archive', fits: true },
    { archive: 'both', allowed: 'oci', fits: false },
  ] as const)('an archive ($archive) where $allowed is allowed: $fits', async ({ archive, allowed, fits }) => {
    const lab = await openTrustLab();
    lab.setPolicy({ default: reject, transports: { [allowed]: { '': accept } } });
    if (fits) {
      expect(await lab.load(archives[archive])).toContain('Loaded image: app:1');
      expect(await lab.run('app:1')).toBe('');
      lab.setPolicy({ default: reject });
      expect(await lab.run('app:1')).toMatch(/rejects every image/);
    } else {
      await expect(lab.load(archives[archive])).rejects.toThrow(/from (oci|docker)-archive is refused.*scope default/);
      expect(await lab.inventory()).toEqual(nothing);
    }
  });

  test('an archive has no signatures that a policy could ask for', async () => {
    const lab = await openTrustLab();
    lab.setPolicy({ default: sigstore(ours.pem) });
    await expect(lab.load(archives.oci)).rejects.toThrow(/sigstoreSigned: it has no sigstore signature/);
  });

  test('a folder, by its path', async () => {
    const lab = await openTrustLab();
    const { mkdirSync } = await import('node:fs');
    const folder = join(lab.root, 'layout');
    mkdirSync(join(folder, 'blobs/sha256'), { recursive: true });
    for (const [name, bytes] of Object.entries(oci)) writeFileSync(join(folder, name), bytes);
    lab.setPolicy({ default: reject, transports: { oci: { [lab.root]: accept } } });
    expect(await lab.loadFolder(folder)).toContain('Loaded image');
    lab.setPolicy({ default: accept, transports: { oci: { [folder]: reject } } });
    await expect(lab.loadFolder(folder)).rejects.toThrow(/scope oci ".*layout": reject/);
    expect(blobFile(image.config)[0]).toMatch(/^blobs/);
  });
});

describe('run', () => {
  test('what was made here runs, unless the policy speaks of what is stored here', async () => {
    const lab = await openTrustLab();
    lab.setPolicy({ default: reject });
    const bytes = tarOf({ file: 'x' });
    const stream = (async function* () {
      yield bytes;
    })();
    await lab.images.import(stream, { reference: 'own:1' });
    expect(await lab.run('own:1')).toBe('');
    lab.setPolicy({ default: reject, transports: { 'containers-storage': { 'docker.io/library/own': reject } } });
    expect(await lab.run('own:1')).toMatch(/scope containers-storage "docker.io\/library\/own": reject/);
    await lab.images.tag('own:1', 'other:1');
    expect(await lab.run('other:1')).toBe('');
    lab.setPolicy({ default: accept, transports: { 'containers-storage': { '': reject } } });
    expect(await lab.run('other:1')).toMatch(/containers-storage ""/);
    // Signed by one's own key it is what that scope wants.
    lab.setPolicy({ default: reject, transports: { 'containers-storage': { '': sigstore(ours.pem) } } });
    expect(await lab.run('own:1')).toMatch(/no sigstore signature/);
    expect(await lab.sign('own:1', { key: ours.key })).toMatchObject({
      reference: 'docker.io/library/own:1',
      stored: 'local',
    });
    expect(await lab.run('own:1')).toBe('');
    await lab.images.reconcile(() => false);
    expect(await lab.run('own:1')).toBe('');
  });

  test('a new name does not wash an image clean', async () => {
    const lab = await openTrustLab();
    await lab.seed('bad/app', '1');
    await lab.seed('good/app', '1', 'good');
    const only = { default: reject, transports: { docker: { [lab.at('good')]: accept } } };
    lab.setPolicy({ default: accept });
    await lab.pull('bad/app:1');
    await lab.pull('good/app:1');
    await lab.images.tag(lab.at('bad/app:1'), lab.at('good/app:2'));
    lab.setPolicy(only);
    expect(await lab.run(lab.at('good/app:1'))).toBe('');
    expect(await lab.run(lab.at('good/app:2'))).toMatch(/bad\/app:1 is refused/);
    // The same content that came by a way that is allowed may run.
    await lab.seed('good/app', '3');
    await lab.pull('good/app:3');
    expect(await lab.run(lab.at('good/app:2'))).toBe('');
  });
});
