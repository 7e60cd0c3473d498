import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { completeHybridCgroups, missingHierarchies } from './cgroup-hybrid.ts';
import { type CgroupLayout, readCgroupLayout } from './cgroup-layout.ts';

const hybrid = (...controllers: string[]): CgroupLayout => ({
  mode: 'hybrid',
  v1: Object.fromEntries(controllers.map((name) => [name, `/sys/fs/cgroup/${name}`])),
  unified: '/sys/fs/cgroup/unified',
  roots: {},
});

test.each([
  { what: 'nothing is left', layout: hybrid('cpu'), controllers: '\n', want: [] },
  { what: 'one is left', layout: hybrid('cpu', 'cpuacct'), controllers: 'hugetlb\n', want: ['hugetlb'] },
  { what: 'names differ', layout: hybrid('memory', 'cpuacct'), controllers: 'cpu io\n', want: ['cpu', 'blkio'] },
  { what: 'v2 alone', layout: { ...hybrid(), mode: 'v2' as const }, controllers: 'cpu io\n', want: [] },
  { what: 'a tree elsewhere', layout: { ...hybrid('cpu'), unified: '/mnt/cgroup2' }, controllers: 'io\n', want: [] },
])('missing hierarchies: $what', ({ layout, controllers, want }) => {
  expect(missingHierarchies(layout, controllers, '0::/\n')).toEqual(want);
});

test('a hierarchy that only another mount namespace has is missing, too', () => {
  const known = '5:name=systemd:/\n4:hugetlb:/a:b\n3:cpu,cpuacct:/\n0::/\n';
  expect(missingHierarchies(hybrid('cpu', 'cpuacct'), '\n', known)).toEqual(['hugetlb']);
});

test('afterwards a hybrid host has no controller left in its v2 tree', () => {
  completeHybridCgroups();
  const layout = readCgroupLayout();
  const file = '/sys/fs/cgroup/unified/cgroup.controllers';
  const left = existsSync(file) ? readFileSync(file, 'latin1') : '';
  expect(missingHierarchies(layout, left, readFileSync('/proc/self/cgroup', 'latin1'))).toEqual([]);
});
