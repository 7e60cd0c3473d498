import { execFileSync } from 'node:child_process';
import { linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Digest, LayerStore } from '../../storage/index.ts';
import type { ExportSource, PartAttestation } from '../exporter.ts';
import { type ExportLab, openExportLab, resultOf, sha256 } from './export-lab.fixture.ts';
import { exporterFor, requireExporter } from './exporter-for.ts';

let lab: ExportLab;
beforeEach(async () => {
  const opened = await openExportLab();
  lab = opened;
  onTestFinished(() => opened[Symbol.asyncDispose]());
});

const json = async (digest: string) => JSON.parse((await lab.content.read(digest as Digest)).toString('utf8'));

const attestation: PartAttestation = {
  path: 'provenance.json',
  predicateType: 'https://slsa.dev/provenance/v0.2',
  isInlineOnly: false,
  subjects: [],
  predicate: async () => ({ buildType: 'test' }),
};

test('an image is recorded by the layers that are there, with a config that accounts for each', async () => {
  const layers = [await lab.layer({ 'etc/one': '1' }), await lab.layer({ 'etc/two': '2' })];
  const answer = await exporterFor(lab.parts, 'image')(
    resultOf(layers),
    lab.context({ name: 'example.com/app:1,app:two', 'annotation.org.example': 'yes' }),
  );
  const manifest = await json(answer['containerimage.digest']!);
  const config = await json(answer['containerimage.config.digest']!);
  expect(manifest.annotations).toEqual({ 'org.example': 'yes' });
  expect(config.rootfs.diff_ids).toEqual(layers.map((layer) => lab.layers.diffIDOf(layer)));
  expect(config.history.map((entry: { created_by: string }) => entry.created_by)).toEqual(['RUN step 0', 'RUN step 1']);
  expect(lab.recorded).toHaveLength(1);
  expect(lab.recorded[0]).toMatchObject({ names: ['example.com/app:1', 'docker.io/library/app:two'] });
  expect(manifest.layers.map((layer: { digest: string }) => layer.digest)).toEqual(config.rootfs.diff_ids);
  const descriptor = JSON.parse(Buffer.from(answer['containerimage.descriptor']!, 'base64').toString());
  expect(descriptor).toMatchObject({ digest: answer['containerimage.digest'], platform: { os: 'linux' } });
  expect(lab.lines).toContain('exporting layers');
});

test.each<{ kind: string; attributes: Record<string, string> }>([
  { kind: 'gzip', attributes: { compression: 'gzip' } },
  { kind: 'zstd', attributes: { compression: 'zstd' } },
  { kind: 'gzip', attributes: { 'compression-level': '9' } },
])('layers are compressed with $kind by $attributes, and unpack to their diffIDs', async ({ kind, attributes }) => {
  const layer = await lab.layer({ file: 'text '.repeat(100_000) });
  const answer = await exporterFor(lab.parts, 'image')(resultOf([layer]), lab.context(attributes));
  const [blob] = (await json(answer['containerimage.digest']!)).layers;
  expect(blob.mediaType).toBe(`application/vnd.oci.image.layer.v1.tar+${kind}`);
  const plain = execFileSync(kind, ['-dc', await lab.content.path(blob.digest)], { maxBuffer: 1e8 });
  expect(sha256(plain)).toBe(lab.layers.diffIDOf(layer));
});

test.each<Record<string, string>>([
  { compression: 'gzip', 'compression-level': '1' },
  { compression: 'zstd', 'source-date-epoch': '1000', 'rewrite-timestamp': 'true' },
])('what was packed once is found again: %j', async (attributes) => {
  const layer = await lab.layer({ file: 'text '.repeat(10_000) });
  let sealed = 0;
  const counted: LayerStore['seal'] = (...asked) => {
    sealed += 1;
    return lab.layers.seal(...asked);
  };
  const layers = new Proxy(lab.layers, {
    get: (store, name) => {
      const member: unknown = name === 'seal' ? counted : Reflect.get(store, name);
      return typeof member === 'function' ? member.bind(store) : member;
    },
  });
  const made = async () => {
    const exporter = exporterFor({ ...lab.parts, layers }, 'oci');
    const answer = await exporter(resultOf([layer]), lab.context(attributes));
    return (await json(answer['containerimage.digest']!)).layers[0].digest as Digest;
  };
  const first = await made();
  expect(await made()).toBe(first);
  expect(sealed).toBe(1);
});

test('what is said about an image stands beside it in an index', async () => {
  const layer = await lab.layer({ file: 'x' });
  const source = resultOf([layer], { attestations: [attestation] });
  const answer = await exporterFor(lab.parts, 'image')(source, lab.context({ name: 'app' }));
  const index = await json(answer['containerimage.digest']!);
  const [image, said] = index.manifests;
  expect(said.annotations).toEqual({
    'vnd.docker.reference.digest': image.digest,
    'vnd.docker.reference.type': 'attestation-manifest',
  });
  const [statement] = (await json(said.digest)).layers;
  expect(statement.annotations).toEqual({ 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' });
  expect(await json(statement.digest)).toMatchObject({
    subject: [{ name: 'pkg:docker/app@latest?platform=linux%2Famd64', digest: { sha256: image.digest.slice(7) } }],
    predicate: { buildType: 'test' },
  });
});

test.each(['oci', 'docker'] as const)('skopeo takes an archive of type %s', async (type) => {
  const layer = await lab.layer({ 'bin/tool': '#!' });
  await exporterFor(lab.parts, type)(resultOf([layer]), lab.context({ name: 'example.com/app:1' }));
  const path = join(lab.folder, 'image.tar');
  writeFileSync(path, lab.file());
  const raw = execFileSync('skopeo', ['inspect', '--config', `${type}-archive:${path}`], { encoding: 'utf8' });
  expect(JSON.parse(raw)).toMatchObject({ architecture: 'amd64', rootfs: { diff_ids: [lab.layers.diffIDOf(layer)] } });
});

test('a folder has the files of all layers merged, and what is said about them', async () => {
  const layers = [await lab.layer({ 'a/one': '1', 'a/two': 'old' }), await lab.layer({ 'a/two': 'new', b: 'b' })];
  await exporterFor(lab.parts, 'local')(
    resultOf(layers, { attestations: [attestation] }),
    lab.context({ 'platform-split': 'true', 'source-date-epoch': '1000' }),
  );
  const files = [...lab.received].map(([path, { bytes }]) => [path, bytes.toString('utf8')]);
  expect(files.slice(0, 5)).toEqual([
    ['linux_amd64', ''],
    ['linux_amd64/a', ''],
    ['linux_amd64/a/one', '1'],
    ['linux_amd64/a/two', 'new'],
    ['linux_amd64/b', 'b'],
  ]);
  const statement = JSON.parse(files[5]![1]!);
  expect(statement.subject).toContainEqual({ name: 'a/two', digest: { sha256: sha256(Buffer.from('new')).slice(7) } });
  expect(lab.received.get('linux_amd64/b')!.entry.modifiedNs).toBe(1_000_000_000_000n);
});

const twoPlatforms = async (other: Record<string, string>): Promise<ExportSource> => {
  const first = resultOf([await lab.layer({ a: '1' })], { attestations: [attestation] });
  const platform = { os: 'linux', architecture: 'arm', variant: 'v7' };
  const second = resultOf([await lab.layer(other)], {
    ...{ platformID: 'linux/arm/v7', platform, attestations: [attestation] },
  });
  return { ...first, parts: [...first.parts, ...second.parts], isMultiPlatform: true };
};

test('a client that asks for a pipe as if it were a file holds nobody up', async () => {
  const layer = await lab.layer({ a: '1' });
  execFileSync('mkfifo', [join(lab.layers.folder(layer), 'pipe')]);
  const { session, ...context } = lab.context();
  const sendFolder: typeof session.sendFolder = async (_, sent) => {
    const entries = await Array.fromAsync(sent.entries);
    expect(entries.map(({ path }) => path)).toEqual(['a', 'pipe']);
    await Array.fromAsync(sent.read(1));
  };
  const asked = exporterFor(lab.parts, 'local')(resultOf([layer]), { ...context, session: { ...session, sendFolder } });
  await expect(asked).rejects.toThrow('/pipe is no regular file');
});

test('two platforms have a folder each', async () => {
  await exporterFor(lab.parts, 'local')(await twoPlatforms({ a: '2' }), lab.context());
  expect([...lab.received.keys()]).toEqual([
    ...['linux_amd64', 'linux_amd64/a', 'linux_amd64/provenance.json'],
    ...['linux_arm_v7', 'linux_arm_v7/a', 'linux_arm_v7/provenance.json'],
  ]);
});

test('an annotation for a platform that is none of several is refused', async () => {
  const annotate = async (platform: string) => {
    const context = lab.context({ [`annotation-manifest[${platform}].k`]: 'v' });
    return await exporterFor(lab.parts, 'image')(await twoPlatforms({ a: '2' }), context);
  };
  const answer = await annotate('linux/arm');
  const { manifests } = await json(answer['containerimage.digest']!);
  const annotations = await Promise.all(
    manifests.slice(0, 2).map(async ({ digest }: { digest: string }) => (await json(digest)).annotations),
  );
  expect(annotations).toEqual([undefined, { k: 'v' }]);
  await expect(annotate('linux/s390x')).rejects.toThrow(
    'no platform linux/s390x found in source: want one of linux/amd64, linux/arm/v7',
  );
});

test('or share one, when no file of theirs has the name of another', async () => {
  const unsplit = lab.context({ 'platform-split': 'false' });
  await exporterFor(lab.parts, 'local')(await twoPlatforms({ b: '2' }), unsplit);
  expect([...lab.received.keys()].sort()).toEqual([
    ...['a', 'b', 'provenance.linux_amd64.json', 'provenance.linux_arm_v7.json'],
  ]);
  const sameName = exporterFor(lab.parts, 'local')(await twoPlatforms({ a: '2' }), unsplit);
  await expect(sameName).rejects.toThrow(/two platforms have a file \/a/);
  await expect(exporterFor(lab.parts, 'tar')(await twoPlatforms({ b: '2' }), unsplit)).rejects.toThrow(/would mix/);
});

test.each(['..', '', 'a\0b'])('a document of the name %j is refused', async (path) => {
  const source = resultOf([await lab.layer({ a: '1' })], { attestations: [{ ...attestation, path }] });
  await expect(exporterFor(lab.parts, 'local')(source, lab.context())).rejects.toThrow(/want names of files/);
});

test('what is said in images alone makes no index of an archive, nor a document beside files', async () => {
  const said = { attestations: [{ ...attestation, isInlineOnly: true }] };
  const source = resultOf([await lab.layer({ a: '1' })], said);
  await exporterFor(lab.parts, 'local')(source, lab.context());
  expect([...lab.received.keys()]).toEqual(['a']);
  const answer = await exporterFor(lab.parts, 'oci')(source, lab.context());
  expect((await json(answer['containerimage.digest']!)).layers).toHaveLength(1);
  const forced = await exporterFor(lab.parts, 'oci')(source, lab.context({ 'attestation-inline': 'true' }));
  expect((await json(forced['containerimage.digest']!)).manifests).toHaveLength(2);
});

test("docker's archives have no place for attestations", async () => {
  const source = resultOf([await lab.layer({ a: '1' })], { attestations: [attestation] });
  await expect(exporterFor(lab.parts, 'docker')(source, lab.context())).rejects.toThrow(/choose oci/);
});

test('a tar has the same, and GNU tar reads it', async () => {
  const layers = [await lab.layer({ 'a/one': '1' }), await lab.layer({ b: 'b' })];
  await exporterFor(lab.parts, 'tar')(resultOf(layers), lab.context());
  const listing = execFileSync('tar', ['-tf', '-'], { input: lab.file(), encoding: 'utf8' });
  expect(listing.split('\n')).toEqual(['a/', 'a/one', 'b', '']);
});

test('names that are no UTF-8 are in a tar as they are, and their files have their contents', async () => {
  const layer = await lab.layer({ plain: 'x' });
  const folder = Buffer.from(`${lab.layers.folder(layer)}/`);
  const odd = Buffer.concat([folder, Buffer.from('a\xffb', 'latin1')]);
  writeFileSync(odd, 'content');
  linkSync(odd, Buffer.concat([folder, Buffer.from('c\xff', 'latin1')]));
  symlinkSync(Buffer.from('to\xff', 'latin1'), Buffer.concat([folder, Buffer.from('link')]));
  await exporterFor(lab.parts, 'tar')(resultOf([layer]), lab.context());
  const listing = execFileSync('tar', ['-tvf', '-', '--quoting-style=escape'], { input: lab.file(), encoding: 'utf8' });
  expect(listing).toMatch(/ 7 .* a\\377b\n.* c\\377 link to a\\377b\n.* link -> to\\377\n.* plain\n$/s);
});

test('with rewritten times two builds have one digest, in two data roots', async () => {
  const digests: string[] = [];
  for (const second of [2_000_000_000, 2_000_000_777]) {
    await using other = await openExportLab();
    const key = 'step';
    await other.layers.prepare(key, [], { isTransient: true, isBare: true });
    mkdirSync(join(other.layers.files(key), 'etc'));
    const file = join(other.layers.files(key), 'etc/file');
    writeFileSync(file, 'same');
    utimesSync(file, second, second);
    const source = resultOf([await other.layers.freeze(key)]);
    const epoch = { 'rewrite-timestamp': 'true', 'source-date-epoch': '1600000000' };
    const answer = await exporterFor(other.parts, 'image')(source, other.context(epoch));
    digests.push(answer['containerimage.digest']!);
    const layer = other.recorded[0]!.layers[0]!;
    expect(await other.layers.has(layer.diffID)).toBe(true);
  }
  expect(digests[0]).toBe(digests[1]);
});

test.each<{ attributes: Record<string, string>; says: RegExp }>([
  { attributes: { compression: 'estargz' }, says: /estargz is not supported/ },
  { attributes: { compression: 'brotli' }, says: /want uncompressed, gzip, zstd/ },
  { attributes: { push: 'maybe' }, says: /invalid push "maybe": want true or false/ },
  { attributes: { push: 'true' }, says: /tag is needed when pushing/ },
  { attributes: { name: 'app/Upper' }, says: /must be lowercase/ },
  { attributes: { name: Array.from({ length: 101 }, (_, i) => `n${i}`).join() }, says: /at most 100/ },
  { attributes: { 'annotation-index[linux/amd64].k': 'v' }, says: /invalid annotation/ },
  { attributes: { 'annotation-manifest[nonsense!].k': 'v' }, says: /invalid OS or architecture/ },
  { attributes: { 'annotation.k': 'v'.repeat(2 << 20) }, says: /too many annotations/ },
  { attributes: { 'prefer-nondist-layers': 'true' }, says: /prefer-nondist-layers=true is not supported/ },
  { attributes: { 'dangling-name-prefix': 'a:b' }, says: /want a repository without a tag/ },
  { attributes: { 'source-date-epoch': 'yesterday' }, says: /invalid SOURCE_DATE_EPOCH "yesterday"/ },
])('refused: $says', async ({ attributes, says }) => {
  const layer = await lab.layer({ file: 'x' });
  await expect(exporterFor(lab.parts, 'image')(resultOf([layer]), lab.context(attributes))).rejects.toThrow(says);
  expect(lab.recorded).toEqual([]);
  // And before there is a result, but for what a frontend may still say.
  const type = attributes['push'] === undefined ? 'oci' : 'image';
  expect(() => requireExporter(lab.parts, { type, attributes })).toThrow(says);
});

test.each([
  { config: 'no JSON', says: /not valid JSON/ },
  { config: '[]', says: /no JSON object/ },
  { config: '{"config":{"Env":[1]}}', says: /Env/ },
  { config: ' '.repeat(9 << 20), says: /at most/ },
])('a frontend that hands over such a config is refused: $says', async ({ config, says }) => {
  const source = resultOf([await lab.layer({ file: 'x' })], { config: Buffer.from(config) });
  await expect(exporterFor(lab.parts, 'image')(source, lab.context())).rejects.toThrow(says);
});

test('what a frontend says of the base image must be JSON', async () => {
  const metadata = new Map([['containerimage.base.config', Buffer.from('{')]]);
  const source = { ...resultOf([await lab.layer({ file: 'x' })]), metadata };
  const context = lab.context({ 'rewrite-timestamp': 'true', 'source-date-epoch': '1' });
  await expect(exporterFor(lab.parts, 'image')(source, context)).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: "the frontend's containerimage.base.config is no JSON",
  });
});

test('an option that nobody knows is said', async () => {
  await exporterFor(lab.parts, 'image')(resultOf([]), lab.context({ 'new-thing': '1' }));
  expect(lab.warnings).toEqual(['export options without an effect here: "new-thing"']);
  expect(() => exporterFor(lab.parts, 'floppy')).toThrow(/unknown exporter "floppy"/);
});
