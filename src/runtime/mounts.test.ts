import { expect, test } from 'vitest';
import { parseMountTable } from '../linux/index.ts';
import { checkPropagation, mergeTmpfsOptions, type SpecMount } from './mounts.ts';

test.each([
  [['noexec', 'exec'], ['exec']],
  [
    ['nosuid', 'size=1m', 'size=2m'],
    ['nosuid', 'size=2m'],
  ],
  [
    ['defaults', 'rw', 'mode=1777'],
    ['rw', 'mode=1777'],
  ],
  [['rprivate', 'shared'], ['shared']],
])('mergeTmpfsOptions %j', (options, merged) => expect(mergeTmpfsOptions(options)).toEqual(merged));

test.each(['bind', 'size', 'size=', 'mode=9', 'uid=root', 'context=x', '', 'SIZE=1m'])(
  'tmpfs option %j is refused',
  (option) => {
    expect(() => mergeTmpfsOptions([option])).toThrow('invalid tmpfs option');
  },
);

const table = parseMountTable(
  [
    '1 0 8:1 / / rw - ext4 /dev/vda rw',
    '2 1 8:2 / /shared rw shared:5 - ext4 /dev/vdb rw',
    '3 1 8:3 / /follows rw master:5 - ext4 /dev/vdc rw',
    '4 2 8:4 / /shared/private rw - ext4 /dev/vdd rw',
    '5 1 8:5 / /over rw - ext4 /dev/vde rw',
    '6 1 8:6 / /over rw shared:9 - ext4 /dev/vdf rw',
  ].join('\n'),
);
const bind = (source: string, propagation: string): SpecMount => ({
  ...{ type: 'bind', source, destination: '/d', readOnly: false, propagation },
});

test.each([
  ['/shared/x', 'rshared'],
  ['/shared', 'slave'],
  ['/follows/x', 'rslave'],
  ['/over/x', 'shared'],
  ['/anything', 'rprivate'],
  ['/anything', ''],
])('%s may be %s', (source, propagation) => {
  expect(() => checkPropagation([bind(source, propagation)], () => table)).not.toThrow();
});

test.each([
  ['/x', 'rshared', 'path /x is mounted on / but it is not a shared mount'],
  ['/x', 'slave', 'path /x is mounted on / but it is not a shared or slave mount'],
  ['/follows', 'shared', 'path /follows is mounted on /follows but it is not a shared mount'],
  ['/shared/private/x', 'rshared', 'is mounted on /shared/private but it is not a shared mount'],
  ['/shared-not/x', 'rshared', 'is mounted on / but'],
])('%s cannot be %s', (source, propagation, message) => {
  expect(() => checkPropagation([bind(source, propagation)], () => table)).toThrow(message);
});

test('the table of mounts is left alone while nothing propagates', () => {
  const read = () => {
    throw new Error('read');
  };
  expect(() => checkPropagation([bind('/x', 'private')], read)).not.toThrow();
});
