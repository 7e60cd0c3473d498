import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { rawNumber } from './json-number.ts';
import type { OciSeccomp, OciSpec } from './oci-spec.ts';
import { SeccompCache } from './seccomp-cache.ts';

const crun = { name: 'crun', path: '/usr/bin/crun', args: [] };
const annotation = 'run.oci.seccomp_bpf_data';
const rules: OciSeccomp = {
  defaultAction: 'SCMP_ACT_ALLOW',
  syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 }],
};

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tare-seccomp-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

function embedded(seccomp: OciSeccomp | undefined, runtime = crun, annotations?: Record<string, string>) {
  const spec = { linux: { seccomp }, annotations } as unknown as OciSpec;
  new SeccompCache(directory).embed(spec, runtime);
  return spec.annotations?.[annotation];
}

test('the same rules give the same program, from the file the second time', () => {
  const first = embedded(rules);
  const [name] = readdirSync(directory);
  expect(Buffer.from(first!, 'base64').length % 8).toBe(0);
  expect(readFileSync(join(directory, name!)).subarray(32).toString('base64')).toBe(first);
  expect(embedded(rules)).toBe(first);
  expect(readdirSync(directory)).toEqual([name]);
});

test('other rules give another program', () => {
  expect(embedded({ ...rules, defaultAction: 'SCMP_ACT_LOG' })).not.toBe(embedded(rules));
  expect(readdirSync(directory)).toHaveLength(2);
});

test('a damaged or cut file is compiled anew', () => {
  const whole = embedded(rules);
  const file = join(directory, readdirSync(directory)[0]!);
  const damaged = readFileSync(file);
  damaged[40]! ^= 1;
  writeFileSync(file, damaged);
  expect(embedded(rules)).toBe(whole);
  for (const size of [0, 32, 33]) {
    truncateSync(file, size);
    expect(embedded(rules)).toBe(whole);
  }
});

test('operands of 64 bits count whole', () => {
  const masked = (value: bigint) => ({
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [
      { names: ['clone'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: rawNumber(value), op: 'SCMP_CMP_EQ' }] },
    ],
  });
  expect(embedded(masked(2n ** 64n - 1n))).not.toBe(embedded(masked(2n ** 64n - 2n)));
});

test.each([
  ['another runtime', rules, { ...crun, path: '/usr/sbin/runc' }],
  ['no seccomp', undefined, crun],
  ['rules that only a runtime can set up', { ...rules, defaultAction: 'SCMP_ACT_NOTIFY' }, crun],
  ['a listener', { ...rules, listenerPath: '/run/listener' }, crun],
  ['rules that libseccomp refuses', { ...rules, architectures: ['SCMP_ARCH_PDP11'] }, crun],
])('%s: the spec stays as it is', (_name, seccomp, runtime) => {
  expect(embedded(seccomp, runtime)).toBeUndefined();
});

test('an annotation of the user stays', () => {
  expect(embedded(rules, crun, { [annotation]: 'mine' })).toBe('mine');
});
