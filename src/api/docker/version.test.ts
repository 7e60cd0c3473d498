import { expect, test } from 'vitest';
import { splitVersion } from './version.ts';

test.each([
  { given: '/info', want: { version: 51, path: '/info' } },
  { given: '/v1.51/info', want: { version: 51, path: '/info' } },
  { given: '/v1.24/images/v1.2/json', want: { version: 24, path: '/images/v1.2/json' } },
  { given: '/volumes', want: { version: 51, path: '/volumes' } },
])('$given', ({ given, want }) => expect(splitVersion(given)).toEqual(want));

test.each([
  ['/v1.99/info', 'client version 1.99 is too new. Maximum supported API version is 1.51'],
  ['/v2.0/info', 'client version 2.0 is too new. Maximum supported API version is 1.51'],
  [
    '/v1.12/info',
    'client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
  ],
  [
    '/v0.5/info',
    'client version 0.5 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version',
  ],
])('%s is refused', (path, message) => expect(() => splitVersion(path)).toThrow(message));
