import { expect, test } from 'vitest';
import { withoutPasswords } from './without-passwords.ts';

test.each([
  ['https://u:p@h.test/x', 'https://u:xxxxx@h.test/x'],
  ['https://u:p@ss@h.test/x', 'https://u:xxxxx@h.test/x'],
  ['https://to@ken@h.test:8080/x', 'https://xxxxx@h.test:8080/x'],
  [
    'git clone ssh://git@h.test/a@b and http://a@b:c@h.test?q=a@b',
    'git clone ssh://git@h.test/a@b and http://xxxxx@b:xxxxx@h.test?q=a@b',
  ],
  ['http://h.test:80/a:b@c', 'http://h.test:80/a:b@c'],
])('%s is shown as %s', (text, want) => expect(withoutPasswords(text)).toBe(want));
