import { expect, test } from 'vitest';
import { type ContainerSummary, containerListing, containerRow } from './containers.ts';
import { imageRows } from './images.ts';
import { formatList } from './listing.ts';
import { portsText } from './ports.ts';
import { table } from './table.ts';
import { ellipsis } from './text.ts';
import { binarySize, humanDuration, humanSize } from './units.ts';

test('a column is as wide as its widest cell and three blanks', () => {
  expect(
    table([
      ['A', 'B', 'C'],
      ['long', '', 'c'],
      ['ä', 'b', ''],
    ]),
  ).toBe('A      B   C\nlong       c\nä      b   \n');
});

test.each([
  [0, '0B'],
  [999, '999B'],
  [1000, '1kB'],
  [1_983_000, '1.98MB'],
  [123_456_789, '123MB'],
])('humanSize(%d)', (bytes, want) => expect(humanSize(bytes, 3)).toBe(want));

test('binarySize', () => expect(binarySize(2_096_000_000)).toBe('1.952GiB'));

test.each([
  [999, 'Less than a second'],
  [1000, '1 second'],
  [59_000, '59 seconds'],
  [60_000, 'About a minute'],
  [3_540_000, '59 minutes'],
  [3_600_000, 'About an hour'],
  [5_400_000, '2 hours'],
  [47 * 3_600_000, '47 hours'],
  [48 * 3_600_000, '2 days'],
  [14 * 86_400_000, '2 weeks'],
  [60 * 86_400_000, '2 months'],
  [730 * 86_400_000, '2 years'],
])('humanDuration(%d)', (ms, want) => expect(humanDuration(ms)).toBe(want));

test('ellipsis counts characters', () => {
  expect(ellipsis('abcdef', 6)).toBe('abcdef');
  expect(ellipsis('ab😀def', 4)).toBe('ab😀…');
});

test('ports: ranges join when they map one to one', () => {
  const port = (PrivatePort: number, PublicPort?: number, IP = '0.0.0.0') => ({
    PrivatePort,
    Type: 'tcp',
    ...(PublicPort ? { PublicPort, IP } : {}),
  });
  expect(portsText([port(82, 82), port(80, 80), port(81, 81), port(443), port(90, 9090), port(90, 9090, '::')])).toBe(
    '0.0.0.0:80-82->80-82/tcp, 443/tcp, 0.0.0.0:9090->90/tcp, [::]:9090->90/tcp',
  );
});

const summary: ContainerSummary = {
  Id: 'f'.repeat(64),
  Names: ['/web', '/other/alias'],
  Image: 'busybox',
  ImageID: 'sha256:1',
  Command: 'sh -c "a very long command"',
  Created: 0,
  Ports: null,
  Labels: { b: '2', a: '1' },
  State: 'running',
  Status: 'Up',
  Mounts: null,
};

test('formats: table, json, template, quiet', () => {
  const rows = [containerRow(summary, true, 5_000)];
  const show = (format?: string, quiet = false) => formatList(containerListing(false), rows, { format, quiet });
  expect(show()).toBe(
    'CONTAINER ID   IMAGE     COMMAND                   CREATED         STATUS    PORTS     NAMES\n' +
      `ffffffffffff   busybox   ${JSON.stringify('sh -c "a very long …').padEnd(26)}5 seconds ago   Up                  web\n`,
  );
  expect(show('table {{.Names}}\\t{{.Label "a"}}')).toBe('NAMES     A\nweb       1\n');
  expect(show('{{.Names}} {{upper .State}}')).toBe('web RUNNING\n');
  expect(JSON.parse(show('json'))).toMatchObject({ Names: 'web', Labels: 'a=1,b=2' });
  expect(JSON.parse(show('{{json .}}'))).toEqual(JSON.parse(show('json')));
  expect(show(undefined, true)).toBe('ffffffffffff\n');
});

test('an unknown field is refused also without rows', () => {
  expect(() => formatList(containerListing(false), [], { format: '{{.Nosuch}}' })).toThrow(/no field Nosuch: one of/);
});

test('an image has a row for each name', () => {
  const image = {
    Id: 'sha256:1',
    RepoTags: ['h:5000/a:1', 'b:2'],
    RepoDigests: ['b@sha256:9'],
    Created: 0,
    Size: 1,
    SharedSize: -1,
    Containers: -1,
    Labels: null,
  };
  const names = (digests: boolean, change = {}) =>
    imageRows({ ...image, ...change }, { short: true, digests }).map((row) => [
      row['Repository'],
      row['Tag'],
      row['Digest'],
    ]);
  expect(names(false)).toEqual([
    ['h:5000/a', '1', '<none>'],
    ['b', '2', '<none>'],
  ]);
  expect(names(true)).toEqual([
    ['h:5000/a', '1', '<none>'],
    ['b', '2', 'sha256:9'],
  ]);
  expect(names(false, { RepoTags: [], RepoDigests: [] })).toEqual([['<none>', '<none>', '<none>']]);
});
