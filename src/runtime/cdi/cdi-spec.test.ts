import fc from 'fast-check';
import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import { isQualifiedName, noEdits, parseCdiSpec } from './cdi-spec.ts';
import { requestedDevices } from './device-requests.ts';

const spec = (changes: object = {}) => ({ cdiVersion: '0.6.0', kind: 'v.com/c', devices: [], ...changes });
const device = (containerEdits: object) => spec({ devices: [{ name: 'a', containerEdits }] });

test('a device has what is written, and the defaults for the rest', () => {
  const { devices } = parseCdiSpec(device({ deviceNodes: [{ path: '/dev/a' }], env: ['A=b=c'] }), 'x');
  expect(devices).toEqual([
    {
      name: 'a',
      edits: {
        ...noEdits,
        env: ['A=b=c'],
        deviceNodes: [
          {
            ...{ path: '/dev/a', hostPath: '/dev/a', type: '', permissions: 'rwm' },
            ...{ major: undefined, minor: undefined, fileMode: undefined, uid: undefined, gid: undefined },
          },
        ],
      },
    },
  ]);
});

test.each([
  [null, 'the document: want an object'],
  [spec({ cdiVersion: '9.0.0' }), 'cdiVersion: want one of'],
  [spec({ kind: 'v.com' }), 'kind: want VENDOR/CLASS'],
  [spec({ devices: {} }), 'devices: want a list'],
  [spec({ devices: [{ name: '../a' }] }), 'devices[0].name'],
  [spec({ devices: [{ name: 'a' }, { name: 'a' }] }), 'each name once'],
  [spec({ more: 1 }), 'the document has "more"'],
  [device({ env: ['=x'] }), 'devices[0].containerEdits.env: want NAME=VALUE'],
  [device({ netDevices: [] }), 'has "netDevices"'],
  [device({ deviceNodes: [{ path: 'dev/a' }] }), 'deviceNodes[0].path: want an absolute path'],
  [device({ deviceNodes: [{ path: '/dev/a', type: 'x' }] }), 'want b, c, u or p'],
  [device({ deviceNodes: [{ path: '/dev/a', major: -1 }] }), 'want a whole number'],
  [device({ mounts: [{ hostPath: '/a' }] }), 'mounts[0].containerPath: want text'],
  [device({ hooks: [{ hookName: 'later', path: '/a' }] }), 'hooks[0].hookName: want one of'],
  [device({ hooks: [{ hookName: 'prestart', path: 'a' }] }), 'hooks[0].path: want an absolute path'],
  [device({ additionalGids: ['x'] }), 'additionalGids: want a whole number'],
])('%j is refused', (document, message) => expect(() => parseCdiSpec(document, 'x')).toThrow(message));

test('whatever a file holds is taken or refused, and breaks nothing', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom('env', 'deviceNodes', 'mounts', 'hooks', 'intelRdt'), (value, key) => {
      for (const document of [value, device({ [key]: value }), spec({ devices: value })]) {
        try {
          parseCdiSpec(document, 'x');
        } catch (error) {
          expect(error).toBeInstanceOf(TareError);
        }
      }
    }),
  );
});

test.each([
  ['v.com/c=a', true],
  ['v.com/c=0:1', true],
  ['/dev/a', false],
  ['v.com/c', false],
  ['v.com/c=', false],
  ['v.com/c=-a', false],
])('%s is a name of a CDI device: %j', (text, want) => expect(isQualifiedName(text)).toBe(want));

test('requests without a driver are for GPUs or refused', () => {
  const request = { driver: '', count: -1, deviceIds: [], capabilities: [['gpu', 'utility']], options: {} };
  const devices = { problems: [], namesOf: () => ['0', '1', 'GPU-abc'] };
  const asked = (changes: object) => requestedDevices([{ ...request, ...changes }], devices, ['/etc/cdi']);
  expect(asked({})).toEqual(['nvidia.com/gpu=0', 'nvidia.com/gpu=1', 'nvidia.com/gpu=GPU-abc']);
  expect(asked({ count: 2 })).toEqual(['nvidia.com/gpu=0', 'nvidia.com/gpu=1']);
  expect(() => asked({ count: 3 })).toThrow('this host has 2');
  expect(() => asked({ capabilities: [['tpu']] })).toThrow('with capabilities: [[tpu]]');
  expect(() => asked({ driver: 'cdi', deviceIds: ['/dev/a'], count: 0, capabilities: [] })).toThrow(
    'invalid CDI device',
  );
  expect(() => asked({ driver: 'cdi', deviceIds: ['v.com/c=a'], count: 0 })).toThrow(
    'neither capabilities nor options',
  );
});
