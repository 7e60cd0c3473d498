import { expect, test } from 'vitest';
import { outputElsewhere } from './commit-output.ts';

test.each([
  {
    text: 'docker://localhost:5000/app:1',
    want: { type: 'image', attributes: { name: 'localhost:5000/app:1', push: 'true', store: 'false' } },
  },
  { text: 'oci-archive:x.tar', want: { type: 'oci', attributes: {}, destination: { file: 'x.tar' } } },
  {
    text: 'docker-archive:/tmp/x.tar:app:1',
    want: { type: 'docker', attributes: { name: 'app:1' }, destination: { file: '/tmp/x.tar' } },
  },
  {
    text: 'oci:./layout',
    want: { type: 'oci', attributes: { tar: 'false' }, destination: { folder: './layout' } },
  },
  ...['app:1', 'localhost:5000/app', 'oci:latest', 'dir:1', 'docker:24'].map((text) => ({ text, want: undefined })),
])('an image is committed to $text', ({ text, want }) => {
  expect(outputElsewhere(text)).toEqual(want);
});

test.each(['dir:/tmp/x', 'oci-archive:', 'docker-archive:x.tar:'])('nothing is committed to %s', (text) => {
  expect(() => outputElsewhere(text)).toThrow(/tare image copy|want docker:\/\/NAME/);
});
