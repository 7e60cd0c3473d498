import fc from 'fast-check';
import { expect, test } from 'vitest';
import { withBytes, zipOf } from './files.fixture.ts';
import { javaPackages } from './java.ts';

const read = (bytes: Uint8Array) => withBytes(bytes, (fd) => javaPackages(fd, 'app.jar'));

const pom = { 'META-INF/maven/g/a/pom.properties': 'groupId=g\nartifactId=a\nversion=1\n' };

test('a jar that runs by itself has a program before it', async () => {
  const script = Buffer.from('#!/bin/sh\nexec java -jar "$0"\n'.repeat(50));
  const jar = zipOf({ ...pom, 'lib/inner.jar': zipOf(pom) });
  expect((await read(Buffer.concat([script, jar]))).map(({ name, inside }) => name + inside)).toEqual([
    'g:a',
    'g:a:lib/inner.jar',
  ]);
});

test('archives that nest too deep are refused', async () => {
  let bytes = zipOf(pom);
  for (let depth = 0; depth < 4; depth += 1) bytes = zipOf({ 'inner.jar': bytes });
  expect(await read(bytes)).toHaveLength(1);
  await expect(read(zipOf({ 'inner.jar': bytes }))).rejects.toThrow(/nested more than 4 deep/);
});

test.each([
  ['properties', 'META-INF/maven/g/a/pom.properties', 300 * 1024],
  ['a manifest', 'META-INF/MANIFEST.MF', 5 * 1024 * 1024],
])('%s that inflate beyond reason are refused', async (_, name, size) => {
  await expect(read(zipOf({ [name]: Buffer.alloc(size) }))).rejects.toThrow(/more than \d+ bytes/);
});

test('sizes that lie are found out', async () => {
  const name = 'META-INF/MANIFEST.MF';
  await expect(read(zipOf({ [name]: Buffer.alloc(100_000, 'x') }, { [name]: 10 }))).rejects.toMatchObject({
    kind: 'InvalidArgument',
    message: expect.stringContaining('no valid zip file'),
  });
});

test('a nested archive of zeros without end costs little memory', async () => {
  const bomb = zipOf({ 'zeros.jar': Buffer.alloc(514 * 1024 * 1024) });
  const before = process.memoryUsage.rss();
  await expect(read(bomb)).rejects.toThrow(/more than 536870912 bytes/);
  expect(process.memoryUsage.rss() - before).toBeLessThan(150 * 1024 * 1024);
}, 60_000);

test('any damage is refused or read', async () => {
  const whole = zipOf({ ...pom, 'META-INF/MANIFEST.MF': 'Implementation-Version: 1\n', 'lib/x.jar': zipOf(pom) });
  const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(edits, fc.option(fc.nat(whole.length)), async (changes, cut) => {
      const bytes = Buffer.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        await read(cut === null ? bytes : bytes.subarray(0, cut));
      } catch (error) {
        expect(error).toMatchObject({ kind: 'InvalidArgument', message: expect.stringContaining('app.jar') });
      }
    }),
    { numRuns: 800 },
  );
});
