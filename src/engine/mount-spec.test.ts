import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkMountRequest, cleanPath, parseBindSpec, parseVolumesFrom } from './mount-spec.ts';

describe('parseBindSpec', () => {
  const plain = { source: '', destination: '/d', mode: '', readOnly: false, propagation: '', noCopy: false };
  test.each([
    ['/d', plain],
    ['/h:/d', { ...plain, source: '/h' }],
    ['/h/../i:/d/', { ...plain, source: '/i' }],
    ['vol:/d:ro', { ...plain, source: 'vol', mode: 'ro', readOnly: true }],
    ['vol:/d:nocopy', { ...plain, source: 'vol', mode: 'nocopy', noCopy: true }],
    ['/h:/d:ro,rslave', { ...plain, source: '/h', mode: 'ro,rslave', readOnly: true, propagation: 'rslave' }],
    ['/h:/d:z', { ...plain, source: '/h', mode: 'z' }],
  ])('%s', (text, want) => expect(parseBindSpec(text)).toEqual(want));

  test.each([
    ['', /invalid volume specification/],
    ['a:b:c:d', /invalid volume specification/],
    ['/h:', /invalid volume specification/],
    ['/h:d', /must be absolute/],
    ['/h:/', /destination can't be/],
    ['/h:/d/..', /destination can't be/],
    ['/h:/d:bogus', /invalid mode: bogus/],
    ['/h:/d:ro,rw', /invalid mode/],
    ['vol:/d:rshared', /invalid mode/],
    ['../h:/d', /includes invalid characters for a local volume name/],
  ])('refuses %j', (text, message) => expect(() => parseBindSpec(text)).toThrow(message));
});

describe('checkMountRequest', () => {
  const bind = { type: 'bind' as const, source: '/h', target: '/d', readOnly: false };
  test('takes a plain bind', () => expect(() => checkMountRequest(bind)).not.toThrow());
  test.each([
    [{ ...bind, target: '' }, /field Target must not be empty/],
    [{ ...bind, target: 'd' }, /mount path must be absolute/],
    [{ ...bind, source: '' }, /field Source must not be empty/],
    [{ ...bind, source: 'h' }, /mount path must be absolute/],
    [{ ...bind, type: 'tmpfs' as const }, /field Source must not be specified/],
    [{ ...bind, tmpfs: { sizeBytes: 1, mode: 0, options: [] } }, /field TmpfsOptions must not be specified/],
    [{ ...bind, type: 'volume' as const, source: '../x' }, /includes invalid characters/],
  ])('refuses %j', (mount, message) => expect(() => checkMountRequest(mount)).toThrow(message));
});

test.each([
  ['web', { container: 'web', readOnly: false }],
  ['web:ro', { container: 'web', readOnly: true }],
  ['web:rw,Z', { container: 'web', readOnly: false }],
  ['web:z,ro', { container: 'web', readOnly: true }],
])('volumes from %s', (text, want) => expect(parseVolumesFrom(text)).toEqual(want));

test.each([
  ['', /cannot be an empty string/],
  ['web:', /invalid mode: $/],
  ['web:foo', /invalid mode: foo/],
  ['web:ro,rw', /invalid mode: ro,rw/],
  ['web:rslave', /invalid mode: rslave/],
  ['web:nocopy', /invalid mode: nocopy/],
])('volumes from %j is refused', (text, message) => expect(() => parseVolumesFrom(text)).toThrow(message));

test('cleanPath leaves nothing to climb with', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom('a', '..', '.', '', 'b/c')), (parts) => {
      const path = cleanPath(`/${parts.join('/')}`);
      expect(path.startsWith('/')).toBe(true);
      expect(path.split('/').slice(1)).not.toContain('..');
      expect(cleanPath(path)).toBe(path);
    }),
  );
});
