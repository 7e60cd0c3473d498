import { create, toBinary } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { DefinitionSchema, NetMode, OpSchema, SourceInfoSchema, SourceSchema } from '../../protocol/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import * as llb from '../llb/index.ts';
import type { ProvenanceOptions } from './attest-options.ts';
import type { Capture } from './capture.ts';
import { definitionSource, definitionSteps } from './definition-steps.ts';
import { provenancePredicate } from './provenance.ts';

const platform = { os: 'linux', architecture: 'amd64' };
const source = {
  info: create(SourceInfoSchema, { filename: 'Dockerfile', data: Buffer.from('RUN x\n'), language: 'Dockerfile' }),
};
const range = { start: { line: 1, character: 0 }, end: { line: 1, character: 0 } };
const proxy = { http: 'http://u:proxypass@p.test', https: '', ftp: '', no: '', all: '' };
const { root } = llb.exec(
  {
    root: llb.image('docker.io/library/a:1', { platform }),
    ...{ args: ['x'], env: new Map([['A', 'b']]), directory: '/', user: '', network: NetMode.NONE },
    ...{ platform, mounts: [], proxy },
  },
  { name: 'RUN x', location: { source, ranges: [range] } },
);
const definition = llb.marshal(root, platform);

const capture: Capture = {
  asker: {
    frontend: 'dockerfile.v0',
    options: {
      context: 'https://u:gitpass@git.test/repo.git#main',
      filename: 'sub/Dockerfile',
      'build-arg:TOKEN': 'tokenvalue',
      'build-arg:HTTP_PROXY': 'http://u:proxypass@p.test',
      'label:of': 'labelvalue',
      'vcs:source': 'https://u:vcspass@git.test/repo.git',
      'vcs:revision': 'abc',
      target: 'last',
      platform: 'linux/amd64',
      'attest:provenance': 'mode=max',
      'local-sessionid:context': 'random',
    },
  },
  materials: [
    { kind: 'git', ref: 'https://git.test/repo.git#main', digest: 'c'.repeat(40) },
    { kind: 'http', ref: 'https://a.test/f', digest: `sha256:${'d'.repeat(64)}` },
    { kind: 'image', ref: 'docker.io/library/a:1', digest: `sha256:${'e'.repeat(64)}`, platform: 'linux/arm/v7' },
    { kind: 'oci-layout', ref: 'layout.test/b:2' },
  ],
  locals: [],
  secrets: [{ id: 'key', optional: false }],
  sshAgents: [{ id: 'default', optional: true }],
  usesNetwork: false,
  hasUnknownMaterials: false,
};
const [step] = [...definitionSteps(definition).ids.keys()];
const layer: Descriptor = { mediaType: 'm', digest: `sha256:${'f'.repeat(64)}` as Digest, size: 3 };
const facts = {
  ...{ capture, definition, invocationID: 'ref', startedMs: 0, finishedMs: 1500 },
  layers: new Map([[`${step}:0`, [layer]]]),
};
const options: ProvenanceOptions = {
  ...{ mode: 'max', version: 'v0.2', isInlineOnly: false, isReproducible: true, builderID: 'me', filename: '' },
};
// biome-ignore lint/suspicious/noExplicitAny: a document, read as its readers do
const predicate = (more: Partial<ProvenanceOptions>, changed: Partial<Capture> = {}): any =>
  JSON.parse(
    JSON.stringify(provenancePredicate({ ...facts, capture: { ...capture, ...changed } }, { ...options, ...more })),
  );

test('the smallest tells sources, and nothing that a user said', () => {
  const { invocation, materials, metadata, buildConfig } = predicate({ mode: 'min' });
  expect(invocation).toEqual({
    configSource: {
      uri: 'https://git.test/repo.git#main',
      digest: { sha1: 'c'.repeat(40) },
      entryPoint: 'sub/Dockerfile',
    },
    parameters: { frontend: 'dockerfile.v0', args: { target: 'last' } },
    environment: { platform: expect.stringMatching(/^linux\//) },
  });
  expect(materials).toEqual([
    { uri: 'https://git.test/repo.git#main', digest: { sha1: 'c'.repeat(40) } },
    { uri: 'https://a.test/f', digest: { sha256: 'd'.repeat(64) } },
    { uri: 'pkg:docker/a@1?platform=linux%2Farm%2Fv7', digest: { sha256: 'e'.repeat(64) } },
    { uri: 'pkg:oci/layout.test/b@2' },
  ]);
  expect(buildConfig).toBeUndefined();
  expect(metadata).toEqual({
    ...{ buildInvocationID: 'ref', reproducible: true },
    ...{ buildStartedOn: '1970-01-01T00:00:00.000Z', buildFinishedOn: '1970-01-01T00:00:01.500Z' },
    completeness: { parameters: false, environment: true, materials: true },
    'https://mobyproject.org/buildkit@v1#hermetic': true,
    'https://mobyproject.org/buildkit@v1#metadata': {
      vcs: { revision: 'abc', source: 'https://u:xxxxx@git.test/repo.git' },
    },
  });
});

test('the whole tells arguments, names of secrets, the graph and its layers', () => {
  const { invocation, metadata, buildConfig } = predicate({});
  expect(invocation.parameters).toEqual({
    frontend: 'dockerfile.v0',
    args: {
      'build-arg:HTTP_PROXY': 'http://u:xxxxx@p.test',
      'build-arg:TOKEN': 'tokenvalue',
      'label:of': 'labelvalue',
      target: 'last',
    },
    secrets: [{ id: 'key' }],
    ssh: [{ id: 'default', optional: true }],
  });
  expect(metadata.completeness.parameters).toBe(true);
  expect(buildConfig.digestMapping[step!]).toBe('step0');
  expect(buildConfig.llbDefinition[1]).toMatchObject({
    op: { Op: { exec: { meta: { args: ['x'], env: ['A=b'] }, mounts: [{ dest: '/' }], network: 2 } } },
    inputs: ['step0:0'],
  });
  expect(buildConfig.llbDefinition[0]).toMatchObject({
    op: { Op: { source: { identifier: 'docker-image://docker.io/library/a:1' } }, platform: { OS: 'linux' } },
  });
  const { layers, source: files } = metadata['https://mobyproject.org/buildkit@v1#metadata'];
  expect(layers).toEqual({ 'step0:0': [[layer]] });
  expect(files.locations.step1.locations[0].ranges[0].start).toEqual({ line: 1 });
  expect(files.infos[0]).toMatchObject({ filename: 'Dockerfile', language: 'Dockerfile', data: 'UlVOIHgK' });
});

test.each(['min', 'max'] as const)('no password is in it, mode=%s', (mode) => {
  for (const version of ['v0.2', 'v1'] as const) {
    expect(JSON.stringify(predicate({ mode, version }))).not.toMatch(/(?:git|vcs|proxy)pass|random/);
  }
});

test('both versions say the same', () => {
  const old = predicate({});
  const { buildDefinition, runDetails } = predicate({ version: 'v1' });
  expect(buildDefinition.externalParameters.request).toEqual(old.invocation.parameters);
  expect(buildDefinition.externalParameters.configSource.path).toBe('sub/Dockerfile');
  expect(buildDefinition.resolvedDependencies).toEqual(old.materials);
  expect(buildDefinition.internalParameters.buildConfig).toEqual(old.buildConfig);
  expect(runDetails.builder).toEqual({ id: 'me' });
  expect(runDetails.metadata).toMatchObject({
    ...{ buildkit_hermetic: true, buildkit_reproducible: true },
    buildkit_completeness: { request: true, resolvedDependencies: true },
  });
});

test.each([
  { what: 'a network', changed: { usesNetwork: true }, materials: true },
  { what: 'a folder of the client', changed: { hasUnknownMaterials: true }, materials: false },
])('it is not hermetic with $what', ({ changed, materials }) => {
  const { metadata } = predicate({}, changed);
  expect(metadata['https://mobyproject.org/buildkit@v1#hermetic']).toBe(false);
  expect(metadata.completeness.materials).toBe(materials);
});

test('a long address is compared at once', () => {
  const options = { context: `${'#'.repeat(500_000)}\n` };
  const started = performance.now();
  const { invocation } = predicate({ mode: 'min' }, { asker: { frontend: '', options } });
  expect(invocation.configSource).toEqual({ uri: options.context });
  expect(performance.now() - started).toBeLessThan(10_000);
});

test.each([
  {
    what: 'a vertex that is missing',
    bytes: toBinary(OpSchema, create(OpSchema, { inputs: [{ digest: 'sha256:0' }] })),
  },
  { what: 'no operations', bytes: Buffer.from([255]) },
])('a file said to come of a graph with $what is refused', ({ bytes }) => {
  const info = create(SourceInfoSchema, { definition: create(DefinitionSchema, { def: [bytes] }) });
  const made = create(DefinitionSchema, { Source: create(SourceSchema, { infos: [info] }) });
  expect(() => definitionSource(made, new Map())).toThrow(/^invalid definition in the provenance: /);
});
