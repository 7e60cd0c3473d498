import { create, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { type Op, OpSchema, sourcepolicy } from '../../protocol/index.ts';
import { sourcePolicy } from './source-policy.ts';

const policy = (...rules: JsonValue[]) => fromJson(sourcepolicy.PolicySchema, { rules });
const source = (identifier: string, attrs: Record<string, string> = {}): Op =>
  create(OpSchema, { op: { case: 'source', value: { identifier, attrs } } });
/** What policies make of a source. */
function checked(policies: sourcepolicy.Policy[], op: Op): [boolean, string, Record<string, string>] {
  const isChanged = sourcePolicy(policies).check(op);
  if (op.op.case !== 'source') throw new Error('a source no more');
  return [isChanged, op.op.value.identifier, op.op.value.attrs];
}

const denyAll = { action: 'DENY', selector: { identifier: '*' } };
const alpine = 'docker-image://docker.io/library/alpine:3';

describe('source policies', () => {
  test('without rules, and for what is no source, nothing changes', () => {
    expect(checked([], source(alpine))).toEqual([false, alpine, {}]);
    expect(sourcePolicy([policy(denyAll)]).check(create(OpSchema, { op: { case: 'exec', value: {} } }))).toBe(false);
  });

  test.each([
    ['the same identifier', { identifier: alpine, matchType: 'EXACT' }],
    ['wildcards, in which dots are dots', { identifier: 'docker-image://docker.io/*:3' }],
    ['a regular expression', { identifier: '^docker-image://.*alpine', matchType: 'REGEX' }],
    ['an attribute', { identifier: '*', constraints: [{ key: 'a', value: 'b', condition: 'EQUAL' }] }],
    ['a missing attribute', { identifier: '*', constraints: [{ key: 'z', value: 'b', condition: 'NOTEQUAL' }] }],
    ['a pattern of an attribute', { identifier: '*', constraints: [{ key: 'a', value: '^b$', condition: 'MATCHES' }] }],
  ] as [string, JsonValue][])('matched by %s', (_, selector) => {
    const { check: deny } = sourcePolicy([policy({ action: 'DENY', selector })]);
    expect(() => deny(source(alpine, { a: 'b' }))).toThrow(`source denied by policy: "${alpine}"`);
    expect(deny(source('local://x', { a: 'c', z: 'b' }))).toBe(false);
  });

  test('the last rule that allows or denies decides; every policy can deny', () => {
    const allow = { action: 'ALLOW', selector: { identifier: alpine } };
    expect(checked([policy(denyAll, allow)], source(alpine))[0]).toBe(false);
    expect(() => checked([policy(allow, denyAll)], source(alpine))).toThrow(/denied/);
    expect(() => checked([policy(denyAll, allow), policy(denyAll)], source(alpine))).toThrow(/denied/);
  });

  test('what is converted is looked at again, with parts of what it was', () => {
    const convert = (identifier: string, updates: JsonValue, matchType = 'WILDCARD') => ({
      ...{ action: 'CONVERT', selector: { identifier, matchType } },
      updates,
    });
    const first = convert('docker-image://docker.io/library/*:*', { identifier: `docker-image://here/$1-$\{2}` });
    const second = convert(
      'docker-image://here/(?<name>\\w+)-3',
      { identifier: `docker-image://there/$\{name}` },
      'REGEX',
    );
    expect(checked([policy(first, second)], source(alpine))).toEqual([true, 'docker-image://there/alpine', {}]);
    const pinned = convert('https://*', { attrs: { 'http.checksum': 'sha256:1' } });
    const file = 'https://host/file';
    expect(checked([policy(pinned)], source(file))).toEqual([true, file, { 'http.checksum': 'sha256:1' }]);
    expect(() => checked([policy(first, { ...denyAll, selector: { identifier: '*here*' } })], source(alpine))).toThrow(
      'source denied by policy: "docker-image://here/alpine-3"',
    );
  });

  test.each([
    ['^(a+)+$', 'REGEX'],
    ['*a*a*a*a*a*a*a*a*a*a*a*a*b', 'WILDCARD'],
  ])('a pattern that others would match forever, %s, stops nobody', (identifier, matchType) => {
    const text = `${'a'.repeat(500)}!`;
    expect(checked([policy({ action: 'DENY', selector: { identifier, matchType } })], source(text))[1]).toBe(text);
  });

  test('what is converted does not grow without end', () => {
    const rule = { action: 'CONVERT', selector: { identifier: '*' }, updates: { identifier: '$0'.repeat(900) } };
    expect(() => checked([policy(rule)], source('abcdefgh'))).toThrow(/too long an identifier/);
    const long = { ...rule, updates: { identifier: 'x'.repeat(3_000) } };
    expect(() => checked([policy(long)], source('a'))).toThrow(/too long an identifier/);
  });

  test('rules without an end or without a sense are refused', () => {
    const to = (from: string, identifier: string) => ({
      ...{ action: 'CONVERT', selector: { identifier: from } },
      updates: { identifier },
    });
    expect(() => checked([policy(to('a', 'b'), to('b', 'a'))], source('a'))).toThrow(/without end/);
    expect(() => checked([policy({ action: 'CONVERT', selector: { identifier: 'a' } })], source('a'))).toThrow(
      /nothing/,
    );
    expect(() => sourcePolicy([policy({ action: 'DENY' })])).toThrow(/without a selector/);
    const pattern = { identifier: '(', matchType: 'REGEX' };
    expect(() => sourcePolicy([policy({ action: 'DENY', selector: pattern })])).toThrow(/selector "\("/);
    const unknown = policy(denyAll);
    unknown.rules[0]!.action = 7 as sourcepolicy.PolicyAction;
    expect(() => sourcePolicy([unknown])).toThrow('unknown action 7');
  });
});
