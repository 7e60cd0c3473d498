import { expect, test } from 'vitest';
import { provenanceOptions, sbomOptions } from './attest-options.ts';

const plain = {
  ...{ mode: 'max', version: 'v1', isInlineOnly: false, isReproducible: false, builderID: '' },
  filename: 'provenance.json',
};

test.each<{ text: string | undefined; want: object | undefined }>([
  { text: undefined, want: undefined },
  { text: '', want: plain },
  { text: 'true', want: plain },
  { text: 'false', want: undefined },
  { text: 'mode=min,disabled=true', want: undefined },
  { text: 'mode=min,inline-only=true', want: { ...plain, mode: 'min', isInlineOnly: true } },
  { text: 'mode=full,version=v0.2', want: { ...plain, version: 'v0.2' } },
  {
    text: 'reproducible=1,"builder-id=https://a.test/?b,c",filename=p.json',
    want: { ...plain, isReproducible: true, builderID: 'https://a.test/?b,c', filename: 'p.json' },
  },
])('attest:provenance=$text', ({ text, want }) => {
  expect(provenanceOptions(text === undefined ? {} : { 'attest:provenance': text })).toEqual(want);
});

test('a build argument asks for it, too', () => {
  expect(provenanceOptions({ 'build-arg:BUILDKIT_ATTEST_PROVENANCE': 'mode=min' })).toMatchObject({ mode: 'min' });
  expect(sbomOptions({ 'build-arg:BUILDKIT_ATTEST_SBOM': 'true' })).toEqual({
    generator: undefined,
    parameters: new Map(),
  });
});

test.each<{ text: string; want: object | undefined }>([
  { text: '', want: { generator: undefined, parameters: new Map() } },
  { text: 'disabled=true', want: undefined },
  { text: 'generator=a,B=c', want: { generator: 'a', parameters: new Map([['B', 'c']]) } },
])('attest:sbom=$text', ({ text, want }) => {
  expect(sbomOptions({ 'attest:sbom': text })).toEqual(want);
});

test.each([
  ['provenance', 'mode=most', /invalid mode "most": want min or max/],
  ['provenance', 'version=v3', /invalid version "v3": want v0.2 or v1/],
  ['provenance', 'colour=red', /unknown option "colour"/],
  ['provenance', 'reproducible=perhaps', /invalid reproducible "perhaps": want true or false/],
  ['provenance', '"mode', /a quotation mark is misplaced/],
  ['sbom', 'generator=', /sbom scanner cannot be empty/],
  ['sbom', 'B=c', /B is for a generator, and none is named/],
])('attest:%s=%s is refused', (name, text, says) => {
  const ask = () => (name === 'sbom' ? sbomOptions : provenanceOptions)({ [`attest:${name}`]: text });
  expect(ask).toThrow(says);
});
