import { expect, test } from 'vitest';
import { digestOf } from '../../storage/index.ts';
import { formatTransport, parseTransport } from './transport-name.ts';

const digest = digestOf('x');
const busybox = { domain: 'docker.io', path: 'library/busybox', tag: 'latest' };

test.each([
  { text: 'docker://busybox', want: { transport: 'docker', reference: busybox }, again: 'docker://busybox:latest' },
  {
    text: `docker://localhost:5000/a/b@${digest}`,
    want: { transport: 'docker', reference: { domain: 'localhost:5000', path: 'a/b', digest } },
  },
  { text: 'oci:/tmp/x', want: { transport: 'oci', path: '/tmp/x' } },
  { text: 'oci:rel/x:v1', want: { transport: 'oci', path: 'rel/x', name: 'v1' } },
  { text: 'oci:x:docker.io/a/b:1', want: { transport: 'oci', path: 'x', name: 'docker.io/a/b:1' } },
  { text: 'oci:x:@3', want: { transport: 'oci', path: 'x', index: 3 } },
  { text: 'oci-archive:a.tar:v1', want: { transport: 'oci-archive', path: 'a.tar', name: 'v1' } },
  { text: 'docker-archive:a.tar', want: { transport: 'docker-archive', path: 'a.tar' } },
  {
    text: 'docker-archive:a.tar:busybox',
    want: { transport: 'docker-archive', path: 'a.tar', reference: busybox },
    again: 'docker-archive:a.tar:busybox:latest',
  },
  { text: 'docker-archive:a.tar:@0', want: { transport: 'docker-archive', path: 'a.tar', index: 0 } },
  { text: 'dir:/tmp/a:b', want: { transport: 'dir', path: '/tmp/a:b' } },
  { text: 'local:a:1', want: { transport: 'local', name: 'a:1' } },
  { text: 'tare:a:1', want: { transport: 'local', name: 'a:1' }, again: 'local:a:1' },
  { text: 'containers-storage:a:1', want: { transport: 'local', name: 'a:1' }, again: 'local:a:1' },
])('$text', ({ text, want, again = text }) => {
  const name = parseTransport(text);
  expect(name).toEqual(want);
  expect(formatTransport(name)).toBe(again);
  expect(parseTransport(again)).toEqual(name);
});

test.each([
  ['busybox', /want one of docker:\/\/REFERENCE, oci:PATH/],
  ['', /want one of/],
  ['ftp://x', /want one of/],
  ['docker:busybox', /with two slashes/],
  ['docker://', /invalid reference format/],
  ['docker://UPPER', /must be lowercase/],
  [`docker://a:1@${digest}`, /a tag or a digest, not both/],
  ['oci:', /want oci:PATH/],
  ['oci:x:', /want oci:PATH/],
  ['oci:x:a b', /has other characters/],
  ['oci:x:@-1', /is no position/],
  ['oci-archive::x', /want oci-archive:FILE/],
  [`docker-archive:x:a@${digest}`, /by tag, not by digest/],
  ['docker-archive:x:UPPER', /must be lowercase/],
  ['dir:', /want dir:PATH/],
  ['local:', /want local:NAME/],
  ['containers-storage:[overlay@/x]a', /a store in brackets/],
  ['dir:a\0b', /NUL/],
])('%j is refused', (text, problem) => {
  expect(() => parseTransport(text)).toThrow(problem);
});

test.each(['busybox', 'busybox:1', 'localhost:5000/x', 'docker:1'])('%s names no transport', (text) => {
  expect(() => parseTransport(text)).toThrow('invalid image location');
});
