import { createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { expect, test } from 'vitest';
import { throughEveryFace, withEngine } from './support/faces.ts';
import { tar } from './support/tar.ts';

const ROUNDS = 25;
const says = /\.\.\/\.\.\/evil\\*" points outside of the archive/;

/** An archive whose first entry is hostile, with far more behind it than sockets hold. */
async function hostileArchive(folder: string): Promise<string> {
  const path = join(folder, 'hostile.tar');
  const megabyte = Buffer.alloc(1 << 20, 7);
  async function* pieces() {
    yield tar([{ path: '../../evil', content: 'x' }], { end: false });
    for (let index = 0; index < 48; index++) yield tar([{ path: `blob-${index}`, content: megabyte }], { end: false });
    yield Buffer.alloc(1024);
  }
  await pipeline(pieces, createWriteStream(path));
  return path;
}

throughEveryFace(
  'an upload refused at its first entry',
  (engine) => {
    test(`says why, ${ROUNDS} times`, async () => {
      const path = await hostileArchive(engine().root);
      for (let round = 0; round < ROUNDS; round++) {
        const { stderr } = await engine().cli(['load', '--input', path], { expect: 1 });
        expect(stderr).toMatch(says);
      }
    });
  },
  { image: false },
);

const engine = withEngine({ face: 'docker', image: false });

// What curl prints when the connection is reset under it has no answer in it.
test.each(['Expect: 100-continue', 'Expect:'])(`curl is told why, ${ROUNDS} times (%s)`, async (expectation) => {
  const path = await hostileArchive(engine().root);
  const curl = ['curl', '--silent', '--show-error', '-w', '%{http_code}', '--unix-socket', engine().socket];
  const upload = ['-H', expectation, '-H', 'Connection: close', '-X', 'POST', '-T', path, 'http://tare/images/load'];
  for (let round = 0; round < ROUNDS; round++) {
    const { stdout } = await engine().run([...curl, ...upload]);
    expect(stdout).toMatch(says);
    expect(stdout).toMatch(/400$/);
  }
});
