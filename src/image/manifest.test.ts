import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kindOf } from '../errors/index.ts';
import { parseImageConfig } from './config.ts';
import { isAttestation, mediaTypes, parseManifest, requireImage, requireLayerType } from './manifest.ts';

const digest = `sha256:${'1'.repeat(64)}`;
const config = { mediaType: mediaTypes.config, digest, size: 10 };
const layer = { mediaType: mediaTypes.layerGzip, digest, size: 20 };
const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

test.each([mediaTypes.manifest, mediaTypes.dockerManifest])('a manifest of type %s', (mediaType) => {
  expect(parseManifest(bytes({ schemaVersion: 2, mediaType, config, layers: [layer] }), 'm')).toEqual({
    kind: 'manifest',
    mediaType,
    config,
    layers: [layer],
    annotations: {},
  });
});

test.each([mediaTypes.index, mediaTypes.dockerIndex])('an index of type %s', (mediaType) => {
  const platform = { os: 'linux', architecture: 'amd64' };
  const manifests = [{ mediaType: mediaTypes.manifest, digest, size: 1, platform, annotations: { a: 'b' } }];
  expect(parseManifest(bytes({ schemaVersion: 2, mediaType, manifests }), 'm')).toEqual({
    kind: 'index',
    mediaType,
    manifests,
    annotations: {},
  });
});

test('the descriptor tells the type of a document that does not', () => {
  const parsed = parseManifest(bytes({ schemaVersion: 2, config, layers: null }), 'm', mediaTypes.dockerManifest);
  expect(parsed).toMatchObject({ mediaType: mediaTypes.dockerManifest, layers: [] });
});

test.each([
  { what: 'no JSON', document: '{', want: /m is not valid JSON/ },
  { what: 'no UTF-8', document: Buffer.from([0x22, 0xff, 0x22]).toString('latin1'), want: /m: want an object/ },
  { what: 'a list', document: [], want: /m: want an object/ },
  { what: 'schema 1', document: { schemaVersion: 1, fsLayers: [] }, want: /docker's schema 1, which is obsolete/ },
  { what: 'no schema version', document: { config, layers: [] }, want: /schemaVersion: want 2/ },
  { what: 'both kinds', document: { schemaVersion: 2, manifests: [], layers: [] }, want: /both manifests and layers/ },
  {
    what: 'an index that calls itself a manifest',
    document: { schemaVersion: 2, mediaType: mediaTypes.manifest, manifests: [] },
    want: /is not that of an image index/,
  },
  { what: 'no config', document: { schemaVersion: 2, layers: [] }, want: /config: want an object/ },
  {
    what: 'a bad digest',
    document: { schemaVersion: 2, config: { ...config, digest: '../../etc/passwd' }, layers: [] },
    want: /config.digest: invalid digest "..\/..\/etc\/passwd"/,
  },
  {
    what: 'a negative size',
    document: { schemaVersion: 2, config, layers: [{ ...layer, size: -1 }] },
    want: /layers\[0\].size: want a size of 0 or more/,
  },
  {
    what: 'a fraction as size',
    document: { schemaVersion: 2, config, layers: [{ ...layer, size: 1.5 }] },
    want: /layers\[0\].size: want a whole number/,
  },
  {
    what: 'too many layers',
    document: { schemaVersion: 2, config, layers: Array(501).fill(layer) },
    want: /layers: 501 entries, at most 500/,
  },
  { what: 'a huge document', document: `"${' '.repeat(5 << 20)}"`, want: /at most 4194304 are allowed/ },
  { what: 'a deep document', document: '['.repeat(1_000_000), want: /m is not valid JSON/ },
])('parseManifest refuses $what', ({ document, want }) => {
  expect(() => parseManifest(bytes(document), 'm')).toThrow(want);
});

test('a document of another type than its descriptor says is refused', () => {
  const document = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: [] };
  expect(() => parseManifest(bytes(document), 'm', mediaTypes.index)).toThrow(/its descriptor says/);
});

test('artifacts and foreign layers are no images', () => {
  const manifest = { kind: 'manifest' as const, mediaType: '', layers: [], annotations: {} };
  const chart = { ...manifest, config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } };
  expect(() => requireImage(chart as never, 'm')).toThrow(/not a container image/);
  expect(() => requireLayerType({ ...layer, mediaType: `${mediaTypes.layer}+encrypted` } as never, 'm')).toThrow(
    /encrypted/,
  );
  expect(() => requireLayerType({ ...layer, mediaType: 'text/plain' } as never, 'm')).toThrow(
    /unknown type "text\/plain"/,
  );
  expect(() => requireLayerType({ ...layer, mediaType: mediaTypes.dockerLayerGzip } as never, 'm')).not.toThrow();
});

test('attestations are told apart', () => {
  const unknown = { os: 'unknown', architecture: 'unknown' };
  expect(isAttestation({ ...layer, platform: unknown } as never)).toBe(true);
  expect(
    isAttestation({ ...layer, annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } } as never),
  ).toBe(true);
  expect(isAttestation(layer as never)).toBe(false);
});

const rootfs = { type: 'layers', diff_ids: [digest] };

test('parseImageConfig keeps what it knows and takes null for absent', () => {
  const parsed = parseImageConfig(
    bytes({
      architecture: 'amd64',
      os: 'linux',
      created: '2026-01-02T03:04:05.123456789Z',
      container_config: { Cmd: ['old'] },
      config: {
        Env: ['A=b'],
        Cmd: null,
        Volumes: { '/v': {} },
        ExposedPorts: { '80/tcp': {} },
        Labels: null,
        Unknown: 1,
      },
      rootfs,
      history: [{ created_by: 'x', empty_layer: true }, {}],
    }),
  );
  expect(parsed).toEqual({
    architecture: 'amd64',
    os: 'linux',
    created: '2026-01-02T03:04:05.123456789Z',
    config: { Env: ['A=b'], Volumes: { '/v': {} }, ExposedPorts: { '80/tcp': {} } },
    rootfs,
    history: [{ created_by: 'x', empty_layer: true }, {}],
  });
});

test('an old config without a platform is for Linux', () => {
  expect(parseImageConfig(bytes({ rootfs }))).toEqual({ architecture: '', os: 'linux', rootfs });
});

test.each([
  { what: 'no rootfs', document: {}, want: /has no rootfs.diff_ids/ },
  { what: 'another rootfs', document: { rootfs: { type: 'layers+base' } }, want: /rootfs.type is "layers\+base"/ },
  { what: 'a bad diffID', document: { rootfs: { diff_ids: ['x'] } }, want: /invalid diffID "x"/ },
  {
    what: 'a number as Env',
    document: { rootfs, config: { Env: [1] } },
    want: /config.Env\[0\]: want a string, not 1/,
  },
  { what: 'a NUL', document: { rootfs, config: { User: 'a\0b' } }, want: /config.User: want a string without NUL/ },
  { what: 'a text as Cmd', document: { rootfs, config: { Cmd: 'sh' } }, want: /config.Cmd: want a list, not "sh"/ },
  { what: 'a bad time', document: { rootfs, created: 'yesterday' }, want: /created: want a time as in RFC 3339/ },
  { what: 'a huge config', document: `"${' '.repeat(9 << 20)}"`, want: /at most 8388608/ },
])('parseImageConfig refuses $what', ({ document, want }) => {
  expect(() => parseImageConfig(bytes(document))).toThrow(want);
});

test('any JSON is parsed or refused, and never anything else', () => {
  const schema = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom(null, true, 0, -1, 1.5, '', 'x', digest, mediaTypes.layer, [], {}),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(
        fc.constantFrom(
          'schemaVersion',
          'config',
          'layers',
          'manifests',
          'digest',
          'size',
          'rootfs',
          'diff_ids',
          'Env',
          '__proto__',
        ),
        tie('value'),
      ),
    ),
  }));
  fc.assert(
    fc.property(schema.value, (value) => {
      for (const parse of [parseManifest, parseImageConfig]) {
        try {
          parse(bytes(JSON.stringify(value) ?? 'null'), 'x');
        } catch (error) {
          expect(['InvalidArgument', 'Unsupported']).toContain(kindOf(error));
        }
      }
    }),
    { numRuns: 2000 },
  );
});
