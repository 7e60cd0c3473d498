import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { TareError } from '../errors/index.ts';
import { parseSeccompProfile, type SeccompProfile, toOciSeccomp } from './seccomp.ts';

const amd64 = { architecture: 'amd64', kernel: [6, 1], capabilities: ['CAP_SYS_ADMIN'] } as const;
const allow = (names: string[], more: object = {}) => ({ names, action: 'SCMP_ACT_ALLOW', ...more });
const namesOf = (profile: SeccompProfile, target = amd64 as Parameters<typeof toOciSeccomp>[1]) =>
  toOciSeccomp(profile, target).syscalls?.flatMap(({ names }) => names);

describe('toOciSeccomp', () => {
  test.each([
    [{ includes: { caps: ['CAP_SYS_ADMIN'] } }, true],
    [{ includes: { caps: ['CAP_SYS_ADMIN', 'CAP_BPF'] } }, false],
    [{ excludes: { caps: ['CAP_SYS_ADMIN'] } }, false],
    [{ excludes: { caps: ['CAP_BPF'] } }, true],
    [{ includes: { arches: ['arm64'] } }, false],
    [{ includes: { arches: ['amd64', 'x32'] } }, true],
    [{ excludes: { arches: ['amd64'] } }, false],
    [{ includes: { minKernel: '4.8' } }, true],
    [{ includes: { minKernel: '6.1' } }, true],
    [{ includes: { minKernel: '6.10' } }, false],
    [{ excludes: { minKernel: '5.0' } }, false],
    [{ includes: { caps: null, arches: null } }, true],
    [{}, true],
  ])('a rule with %j applies: %s', (conditions, applies) => {
    const profile = { defaultAction: 'SCMP_ACT_ERRNO', syscalls: [allow(['mount'], conditions)] };
    expect(namesOf(profile as SeccompProfile)).toEqual(applies ? ['mount'] : []);
  });

  test('architectures: those given, else the map’s, else this host’s', () => {
    const map = [{ architecture: 'SCMP_ARCH_X86_64', subArchitectures: ['SCMP_ARCH_X86'] }];
    const of = (profile: Partial<SeccompProfile>) =>
      toOciSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', ...profile }, amd64).architectures;
    expect(of({ architectures: ['SCMP_ARCH_ARM'], archMap: map })).toEqual(['SCMP_ARCH_ARM']);
    expect(of({ archMap: map })).toEqual(['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86']);
    expect(of({})).toEqual(['SCMP_ARCH_X86_64']);
  });

  test('the old form with one name, and rules without names', () => {
    const profile = parseSeccompProfile(
      '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"},{"names":null,"action":"SCMP_ACT_ALLOW"}]}',
    );
    expect(namesOf(profile)).toEqual(['read']);
  });

  test('64-bit operands keep their value', () => {
    const text = `{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551614,"valueTwo":9007199254740993,"op":"SCMP_CMP_MASKED_EQ"}]}]}`;
    expect(JSON.stringify(toOciSeccomp(parseSeccompProfile(text), amd64).syscalls?.[0]?.args)).toBe(
      '[{"index":0,"value":18446744073709551614,"valueTwo":9007199254740993,"op":"SCMP_CMP_MASKED_EQ"}]',
    );
  });
});

test.each([
  ['', 'Unexpected end'],
  ['[]', 'want a JSON object'],
  ['{}', 'unknown defaultAction undefined'],
  ['{"defaultAction":"ALLOW"}', 'unknown defaultAction "ALLOW"'],
  ['{"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}}', 'syscalls must be a list'],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"x"}]}',
    'the rule for a has an unknown action',
  ],
  ['{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[5],"action":"x"}]}', 'names of a rule must be text'],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_LOG"}]}',
    "use either 'name' or 'names'",
  ],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]}]}',
    'malformed argument',
  ],
  [
    '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"new"}}]}',
    'minKernel',
  ],
  ['{"defaultAction":"SCMP_ACT_ALLOW","archMap":[5]}', 'archMap'],
])('parseSeccompProfile refuses %s', (text, message) => {
  expect(() => parseSeccompProfile(text)).toThrow(message);
});

test('parseSeccompProfile bounds what it reads', () => {
  expect(() => parseSeccompProfile(`"${'x'.repeat(1 << 20)}"`)).toThrow('longer than');
});

test('any JSON is either refused with a kind or can be converted', () => {
  const rule = fc.record(
    {
      name: fc.string(),
      names: fc.oneof(fc.array(fc.string()), fc.constant(null), fc.anything()),
      action: fc.constantFrom('SCMP_ACT_ALLOW', 'SCMP_ACT_ERRNO', 'x'),
      args: fc.anything(),
      includes: fc.oneof(fc.anything(), fc.record({ caps: fc.anything(), minKernel: fc.string() })),
      excludes: fc.anything(),
    },
    { requiredKeys: ['action'] },
  );
  const profile = fc.record({
    defaultAction: fc.constantFrom('SCMP_ACT_ALLOW', 'SCMP_ACT_KILL'),
    syscalls: fc.oneof(fc.array(rule), fc.anything()),
    archMap: fc.anything(),
  });
  fc.assert(
    fc.property(fc.oneof(profile, fc.anything()), (value) => {
      const text = JSON.stringify(value, (_, member) => (typeof member === 'bigint' ? String(member) : member)) ?? '';
      try {
        toOciSeccomp(parseSeccompProfile(text), amd64);
      } catch (error) {
        expect(error).toBeInstanceOf(TareError);
      }
    }),
  );
});
