import { expect, test } from 'vitest';
import { credentialsOf, registryAuth, registryDomain } from './registry-auth.ts';

const header = (document: unknown) => Buffer.from(JSON.stringify(document)).toString('base64url');

test.each([
  { what: 'nothing', given: undefined, want: undefined },
  { what: 'an empty header', given: '', want: undefined },
  { what: 'no JSON', given: 'bm9uc2Vuc2U', want: undefined },
  { what: 'null', given: header(null), want: undefined },
  { what: 'an empty document', given: header({}), want: undefined },
  { what: 'numbers', given: header({ username: 1, password: 2 }), want: undefined },
  { what: 'a name alone', given: header({ username: 'a' }), want: undefined },
  { what: 'a password', given: header({ username: 'a', password: 'ü:b' }), want: { username: 'a', password: 'ü:b' } },
  {
    what: 'padded base64',
    given: Buffer.from('{"username":"a","password":"b"}').toString('base64'),
    want: { username: 'a', password: 'b' },
  },
  { what: 'the old field', given: header({ auth: 'YTpiOmM=' }), want: { username: 'a', password: 'b:c' } },
  { what: 'an identity token', given: header({ identitytoken: 't' }), want: { identityToken: 't' } },
  { what: 'a registry token', given: header({ registrytoken: 't', username: 'a' }), want: { registryToken: 't' } },
])('registryAuth: $what', ({ given, want }) => expect(registryAuth(given)).toEqual(want));

test('an identity token keeps its user', () => {
  expect(credentialsOf({ username: '<token>', identitytoken: 't' })).toEqual({
    username: '<token>',
    identityToken: 't',
  });
});

test.each([
  ['', 'docker.io'],
  ['https://index.docker.io/v1/', 'docker.io'],
  ['docker.io', 'docker.io'],
  ['https://registry-1.docker.io', 'docker.io'],
  ['localhost:5000', 'localhost:5000'],
  ['http://127.0.0.1:5000/v2/', '127.0.0.1:5000'],
])('registryDomain(%j) is %s', (address, want) => expect(registryDomain(address)).toBe(want));
