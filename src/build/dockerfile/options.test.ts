import { expect, test } from 'vitest';
import { NetMode } from '../../protocol/index.ts';
import { commaFields } from './comma-fields.ts';
import { parseGitAddress } from './git-address.ts';
import { durationText, quotedList, quotedNumber } from './go-format.ts';
import { readOptions } from './options.ts';

const platforms = [{ os: 'linux', architecture: 'amd64' }];
const read = (options: Record<string, string>) => readOptions({ options, platforms });

test('options are read', () => {
  const options = read({
    target: 'app',
    'build-arg:A': 'b',
    'label:l': 'm',
    platform: 'linux/arm64,linux/amd64',
    'no-cache': 'Base,app',
    'add-hosts': 'One=10.0.0.1,two=::1',
    'shm-size': '1048576',
    ulimit: 'nofile=10:20',
    'force-network-mode': 'host',
    'cache-imports': '[{"Type":"registry","Attrs":{"ref":"a"}}]',
    'cache-from': 'b',
    'build-arg:SOURCE_DATE_EPOCH': '17',
    'attest:sbom': 'generator=scanner,X=1',
  });
  expect(options).toMatchObject({
    target: 'app',
    buildArgs: new Map([
      ['A', 'b'],
      ['SOURCE_DATE_EPOCH', '17'],
    ]),
    labels: new Map([['l', 'm']]),
    platforms: [
      { os: 'linux', architecture: 'arm64' },
      { os: 'linux', architecture: 'amd64' },
    ],
    isMultiPlatform: true,
    noCache: ['base', 'app'],
    extraHosts: [
      { host: 'one', ip: '10.0.0.1' },
      { host: 'two', ip: '::1' },
    ],
    shmSizeBytes: 1048576,
    ulimits: [{ name: 'nofile', soft: 10n, hard: 20n }],
    network: NetMode.HOST,
    cacheImports: [
      { type: 'registry', attributes: { ref: 'a' } },
      { type: 'registry', attributes: { ref: 'b' } },
    ],
    epochSeconds: 17,
    sbom: { generator: 'docker.io/library/scanner:latest', parameters: new Map([['X', '1']]) },
  });
  expect(read({ 'no-cache': '' }).noCache).toEqual([]);
  expect(read({}).noCache).toBeUndefined();
});

test.each([
  [{ platform: 'linux/a/b/c/d' }, /failed to parse target platform/],
  [{ platform: Array(101).fill('linux/amd64').join() }, /101 target platforms: at most 100/],
  [{ platform: 'linux/arm64,linux/amd64', 'multi-platform': 'false' }, /multiple target platforms is not allowed/],
  [{ 'multi-platform': 'perhaps' }, /invalid boolean value/],
  [{ 'image-resolve-mode': 'x' }, /want default, pull or local/],
  [{ 'add-hosts': 'a' }, /invalid key-value pair a/],
  [{ 'add-hosts': 'a=b' }, /failed to parse IP b/],
  [{ 'shm-size': '1g' }, /shm size/],
  [{ ulimit: 'nofile=20:10' }, /soft limit/],
  [{ ulimit: 'x=1' }, /invalid ulimit type: x/],
  [{ 'force-network-mode': 'bridge' }, /invalid netmode bridge/],
  [{ 'cache-imports': '{' }, /no JSON/],
  [{ 'cache-imports': '[{"Type":1}]' }, /want a list/],
  [{ 'build-arg:SOURCE_DATE_EPOCH': 'now' }, /seconds since 1970/],
  [{ 'build-arg:SOURCE_DATE_EPOCH': '-1' }, /seconds since 1970/],
])('options %j are refused', (options, message) => {
  expect(() => read(options as Record<string, string>)).toThrow(message);
});

test.each([
  ['a,b', ['a', 'b']],
  ['"a,b","c""d",', ['a,b', 'c"d', '']],
])('commaFields(%j)', (text, want) => expect(commaFields(text, 'x')).toEqual(want));
test.each(['"a', 'a"b', '"a"b'])('commaFields refuses %j', (text) => {
  expect(() => commaFields(text, 'ulimit')).toThrow(/ulimit: a quotation mark/);
});

test.each([
  [
    'https://example.com/a/b.git#main:docs',
    { ref: 'main', subdirectory: 'docs', remote: { url: 'https://example.com/a/b.git' } },
  ],
  ['git@example.com:a/b.git', { remote: { isSsh: true, host: 'example.com', path: 'a/b.git' } }],
  ['github.com/a/b', { couldBePath: true, remote: { url: 'https://github.com/a/b' } }],
  ['https://e.com/a.git?tag=v1&subdir=x&commit=abc', { ref: 'refs/tags/v1', subdirectory: 'x', checksum: 'abc' }],
  ['ssh://git@e.com:22/a?keep-git-dir&submodules=false', { keepsGitDirectory: true, withSubmodules: false }],
])('%s is a repository', (text, want) => expect(parseGitAddress(text)).toMatchObject(want));

test.each(['https://example.com/a.tar.gz', './a.git', 'folder', 'user@host', ''])('%j is none', (text) => {
  expect(parseGitAddress(text)).toBeUndefined();
});

test.each(['?ref=a#b', '?x=1', '?ref=a&ref=b', '?tag=', '?submodules=maybe', '?tag=a&branch=b'])(
  'query %s is refused',
  (query) => {
    expect(() => parseGitAddress(`https://e.com/a.git${query}`)).toThrow(/git address https:/);
  },
);

test('values are printed as Go does', () => {
  expect(quotedList(['a"b', 'ü\n\x01\u200b', ''])).toBe('["a\\"b" "ü\\n\\x01\\u200b" ""]');
  expect([0, 3, 7, 39, 65].map(quotedNumber)).toEqual(["'\\x00'", "'\\x03'", "'\\a'", "'\\''", "'A'"]);
  expect([0, 5, 1500, 1.5e6, 1e9, 90e9, 3_600_500_000_000].map(durationText)).toEqual([
    '0s',
    '5ns',
    '1.5µs',
    '1.5ms',
    '1s',
    '1m30s',
    '1h0m0.5s',
  ]);
});
