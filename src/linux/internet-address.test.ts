import { isIP as nodeIsIP } from 'node:net';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isIP } from './internet-address.ts';

const alike = (text: string) => {
  expect([text, isIP(text)]).toEqual([text, nodeIsIP(text)]);
};

test('what is an address, and of which family, is what Node.js says', () => {
  fc.assert(fc.property(fc.ipV6(), alike));
  fc.assert(fc.property(fc.ipV4(), alike));
  const pieces = ['1', 'ffff', '10000', '0', ':', '::', '.', '1.2.3.4', '256.1.1.1', '%', 'lo', ' ', '\0', '-', '/64'];
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 18 }), (parts) => alike(parts.join(''))),
    { numRuns: 2000 },
  );
});

test.each([
  ...[
    '',
    ':',
    '::',
    '::1',
    'fe80::1%lo',
    'fe80::1%',
    'fe80::1%a%b',
    'fe80::1%a b',
    '1:2:3:4:5:6:7:8:9',
    '::ffff:1.2.3.4',
  ],
  ...['1111:2222:3333:4444:5555:6666:7777:8888ffff%lo', `${'0'.repeat(99)}::1`, '1.2.3', '01.2.3.4', '::1\0', '[::1]'],
])('%j is taken as Node.js takes it', alike);
