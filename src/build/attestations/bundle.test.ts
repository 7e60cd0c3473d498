import { expect, test } from 'vitest';
import { TareError } from '../../errors/index.ts';
import type { Attestation, BridgeRef } from '../frontend.ts';
import { bundled as bundledOf, single } from './bundle.ts';
import { GivenBytes, statementOf } from './statement.ts';

/** A tree with these files in one folder. */
function refOf(files: Record<string, string>, claimedBytes?: number): BridgeRef {
  const bytesOf = (path: string): Buffer => {
    const text = files[path.replace(/^.*\//, '')];
    if (text === undefined) throw new TareError('NotFound', `${path}: no such file or directory`);
    return Buffer.from(text);
  };
  return {
    readDirectory: async () => Object.keys(files).map((path) => ({ path })),
    status: async (path: string) => ({ sizeBytes: claimedBytes ?? bytesOf(path).byteLength }),
    readFile: async (path: string, range: { offset: number; length: number }) =>
      bytesOf(path).subarray(range.offset, range.offset + range.length),
  } as unknown as BridgeRef;
}

const spdx = 'https://spdx.dev/Document';
const bundle = (ref: BridgeRef, more: Partial<Attestation> = {}): Attestation => ({
  ...{ kind: 'bundle', ref, path: 'out', metadata: {}, inToto: { predicateType: spdx, subjects: [] } },
  ...more,
});
const statement = (more: object = {}) =>
  JSON.stringify({ predicateType: spdx, subject: [], predicate: { name: 'é' }, ...more });
const bundled = (attestation: Attestation) => bundledOf(attestation, new GivenBytes());
const form = { createdMs: 0 };

test('a bundle is the statements in its folder, in the order of their names', async () => {
  const subject = [{ name: 'file', digest: { sha256: 'ab', sha512: 'cd' } }];
  const made = await bundled(bundle(refOf({ 'b.json': statement({ subject }), 'a.json': statement() })));
  expect(made.map(({ path }) => path)).toEqual(['a.json', 'b.json']);
  expect(made[1]!.subjects).toEqual([{ kind: 'raw', name: 'file', digests: ['sha256:ab', 'sha512:cd'] }]);
  expect(await made[0]!.predicate(form)).toEqual({ name: 'é' });
});

test('a document is read in pieces, whatever its size', async () => {
  const long = 'x'.repeat(20 << 20);
  const attestation = { ...bundle(refOf({ 'doc.json': JSON.stringify({ long }) })), kind: 'in-toto' as const };
  const made = single(
    { ...attestation, path: 'deep/doc.json', metadata: { 'inline-only': Buffer.from('true') } },
    new GivenBytes(),
  );
  expect(made).toMatchObject({ path: 'doc.json', isInlineOnly: true, predicateType: spdx });
  expect(await made.predicate(form)).toEqual({ long });
});

test.each([
  { what: 'another kind', text: statement({ predicateType: 'https://a.test/b' }), says: /want https:\/\/spdx.dev/ },
  { what: 'no JSON', text: 'nonsense', says: /own.json" is not valid JSON/ },
  { what: 'no text', text: '\ud800', says: /want predicateType|not valid JSON/ },
  { what: 'a list', text: '[]', says: /own.json" is no JSON object/ },
  { what: 'no predicate', text: statement({ predicate: 'text' }), says: /it is no in-toto statement/ },
  { what: 'a subject that is none', text: statement({ subject: [null] }), says: /a subject of it has no name/ },
  { what: 'a digest that is none', text: statement({ subject: [{ name: 'a', digest: { b: 1 } }] }), says: /malformed/ },
  { what: 'subjects that are no list', text: statement({ subject: {} }), says: /its subject is no list/ },
])('refused: $what', async ({ text, says }) => {
  await expect(bundled(bundle(refOf({ 'own.json': text })))).rejects.toThrow(says);
});

test('refused: documents too large or too many, and none at all', async () => {
  await expect(bundled(bundle(refOf({ 'own.json': statement() }, 65 << 20)))).rejects.toThrow(/at most 67108864/);
  const many = Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [`${at}.json`, statement()]));
  await expect(bundled(bundle(refOf(many)))).rejects.toThrow(/1001 statements in one folder/);
  const three = { 'a.json': statement(), 'b.json': statement(), 'c.json': statement() };
  await expect(bundled(bundle(refOf(three, 60 << 20)))).rejects.toThrow(/over 134217728 bytes in one build/);
  const { ref: _, ...none } = bundle(refOf({}));
  expect(() => single({ ...none, kind: 'in-toto' }, new GivenBytes())).toThrow(/has no document/);
  expect(await bundled(none)).toEqual([]);
});

test('a digest of a subject without its algorithm is refused', async () => {
  const subjects = [{ kind: 'raw' as const, name: 'file', digests: ['abcdef'] }];
  const attestation = { ...bundle(refOf({ 'doc.json': '{}' })), inToto: { predicateType: spdx, subjects } };
  const made = single({ ...attestation, path: 'doc.json' }, new GivenBytes());
  await expect(statementOf(made, [], form)).rejects.toThrow('"file": invalid digest "abcdef": want ALGORITHM:DIGITS');
});
