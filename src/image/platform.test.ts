import { expect, test } from 'vitest';
import { bestPlatform, formatPlatform, hostPlatform, normalized, parsePlatform, platformFit } from './platform.ts';

test.each([
  ['linux/amd64', 'linux/amd64'],
  ['linux/x86_64', 'linux/amd64'],
  ['linux/arm64/v8', 'linux/arm64'],
  ['linux/aarch64', 'linux/arm64'],
  ['linux/arm', 'linux/arm/v7'],
  ['linux/arm/6', 'linux/arm/v6'],
  ['linux/armel', 'linux/arm/v6'],
  ['amd64', 'linux/amd64'],
  ['Linux/AMD64', 'linux/amd64'],
  ['windows/amd64', 'windows/amd64'],
])('parsePlatform(%s)', (text, want) => expect(formatPlatform(parsePlatform(text))).toBe(want));

test('linux alone is the host', () => expect(parsePlatform('linux')).toEqual(hostPlatform()));

test.each(['', 'linux/', 'a/b/c/d', 'nothing', 'linux/am d64'])('parsePlatform refuses %j', (text) => {
  expect(() => parsePlatform(text)).toThrow(/operating system|OS or architecture/);
});

test.each([
  { offered: 'linux/amd64', wanted: 'linux/amd64', fits: true },
  { offered: 'linux/arm64', wanted: 'linux/amd64', fits: false },
  { offered: 'windows/amd64', wanted: 'linux/amd64', fits: false },
  { offered: 'linux/arm/v6', wanted: 'linux/arm/v7', fits: true },
  { offered: 'linux/arm/v7', wanted: 'linux/arm/v6', fits: false },
  { offered: 'linux/amd64/v3', wanted: 'linux/amd64', fits: false },
  { offered: 'linux/amd64', wanted: 'linux/amd64/v3', fits: true },
])('$offered serves $wanted: $fits', ({ offered, wanted, fits }) => {
  expect(platformFit(parsePlatform(offered), parsePlatform(wanted)) > 0).toBe(fits);
});

test('an image that says no architecture serves every machine', () => {
  expect(platformFit({ os: 'linux', architecture: '' }, parsePlatform('linux/arm64'))).toBeGreaterThan(0);
});

test('the nearest variant is best, and the first of equals', () => {
  const choices = ['linux/arm/v5', 'linux/arm/v7', 'linux/arm/v6', 'linux/amd64'].map(parsePlatform);
  const best = (wanted: string) => bestPlatform(choices, (choice) => choice, parsePlatform(wanted));
  expect(best('linux/arm/v7')).toBe(choices[1]);
  expect(best('linux/arm/v6')).toBe(choices[2]);
  expect(best('linux/s390x')).toBeUndefined();
  const twins = [{ id: 1 }, { id: 2 }];
  expect(bestPlatform(twins, () => choices[3]!, parsePlatform('amd64'))).toBe(twins[0]);
});

test('normalized keeps what it does not know', () => {
  expect(normalized({ os: 'linux', architecture: 'vax', variant: '780' })).toEqual({
    os: 'linux',
    architecture: 'vax',
    variant: '780',
  });
});
