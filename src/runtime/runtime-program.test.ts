import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, openSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { RuntimePrograms } from './runtime-program.ts';

const folder = (): Disposable & { path: string } => {
  const path = mkdtempSync(join(tmpdir(), 'tare-programs-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
};

test('what runs again runs from a copy that nobody can change', () => {
  using place = folder();
  using programs = new RuntimePrograms(() => true);
  const crun = join(place.path, 'crun');
  copyFileSync('/bin/echo', crun);
  expect(programs.find(crun, 4)).toEqual({ path: crun, descriptors: [] });
  const { path, descriptors } = programs.find(crun, 4);
  expect(path).toBe('/proc/self/fd/4');
  const [[to, fd] = []] = descriptors;
  expect(to).toBe(4);
  expect(execFileSync(`/proc/${process.pid}/fd/${fd}`, ['said'], { encoding: 'utf8' })).toBe('said\n');
  expect(() => writeSync(fd!, 'x', 0)).toThrow(/EPERM/);
  expect(() => writeSync(openSync(`/proc/self/fd/${fd}`, 'r+'), 'x')).toThrow(/EPERM|ETXTBSY/);
});

test('another program at the same place is run as it is, then copied anew', () => {
  using place = folder();
  using programs = new RuntimePrograms(() => true);
  const runc = join(place.path, 'runc');
  copyFileSync('/bin/echo', runc);
  for (const _ of [1, 2]) programs.find(runc, 3);
  copyFileSync('/bin/cat', `${runc}.new`);
  renameSync(`${runc}.new`, runc);
  expect(programs.find(runc, 3)).toEqual({ path: runc, descriptors: [] });
  const [[, fd] = []] = programs.find(runc, 3).descriptors;
  expect(execFileSync(`/proc/${process.pid}/fd/${fd}`, { input: 'cat', encoding: 'utf8' })).toBe('cat');
});

test.each([
  { what: 'of another name', name: 'runsc', allowed: true, content: undefined },
  { what: 'that is a script', name: 'crun', allowed: true, content: '#!/bin/sh\nexec crun "$@"\n' },
  { what: 'on a host that knows programs by their paths', name: 'crun', allowed: false, content: undefined },
])('a program $what stays where it is', ({ name, allowed, content }) => {
  using place = folder();
  using programs = new RuntimePrograms(() => allowed);
  const path = join(place.path, name);
  if (content === undefined) copyFileSync('/bin/echo', path);
  else writeFileSync(path, content, { mode: 0o755 });
  for (const _ of [1, 2, 3]) expect(programs.find(path, 3)).toEqual({ path, descriptors: [] });
});
