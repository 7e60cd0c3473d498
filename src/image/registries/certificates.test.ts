import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { tlsFor } from './certificates.ts';
import { TestHome } from './home.fixture.ts';

const certificate = (name: string) => `# ${name}\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`;
const key = '-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n';

test('authorities and pairs of a host, in the order of their names', () => {
  using home = new TestHome({
    'etc/containers/certs.d/a.test:5000/b.crt': certificate('b'),
    'etc/containers/certs.d/a.test:5000/a.crt': certificate('a'),
    'etc/containers/certs.d/a.test:5000/client.cert': certificate('client'),
    'etc/containers/certs.d/a.test:5000/client.key': key,
    'etc/containers/certs.d/a.test:5000/README': 'not a certificate',
    'etc/docker/certs.d/a.test:5000/c.crt': certificate('c'),
    'etc/docker/certs.d/b.test/c.crt': certificate('c'),
  });
  expect(tlsFor('a.test:5000', home.machine)).toEqual({
    ca: [certificate('a'), certificate('b')],
    cert: [certificate('client')],
    key: [key],
  });
  expect(tlsFor('b.test', home.machine)).toEqual({ ca: [certificate('c')] });
  expect(tlsFor('a.test', home.machine)).toEqual({});
  home.write('home/.config/containers/certs.d/a.test:5000/own.crt', certificate('own'));
  expect(tlsFor('a.test:5000', home.machine)).toEqual({ ca: [certificate('own')] });
});

test('a link to a certificate is followed, for distributions keep theirs elsewhere', () => {
  using home = new TestHome({ 'elsewhere.pem': certificate('x') });
  mkdirSync(join(home.root, 'etc/docker/certs.d/a.test'), { recursive: true });
  symlinkSync(join(home.root, 'elsewhere.pem'), join(home.root, 'etc/docker/certs.d/a.test/ca.crt'));
  expect(tlsFor('a.test', home.machine)).toEqual({ ca: [certificate('x')] });
});

test.each<{ what: string; files: Record<string, string>; want: RegExp }>([
  {
    what: 'a certificate without its key',
    files: { 'c.cert': certificate('c') },
    want: /its key c.key is missing; an authority's certificate must be called c.crt/,
  },
  { what: 'a key without its certificate', files: { 'c.key': key }, want: /its certificate c.cert is missing/ },
  { what: 'no PEM', files: { 'c.crt': 'AAAA' }, want: /c.crt holds no certificate in PEM form/ },
  { what: 'a key where a certificate should be', files: { 'c.crt': key }, want: /c.crt holds no certificate/ },
  {
    what: 'a certificate where a key should be',
    files: { 'c.cert': certificate('c'), 'c.key': certificate('c') },
    want: /c.key holds no private key/,
  },
  { what: 'a huge file', files: { 'c.crt': certificate('c').padEnd(1024 * 1024 + 1) }, want: /larger than 1 MiB/ },
])('certs.d is refused: $what', ({ files, want }) => {
  using home = new TestHome(
    Object.fromEntries(Object.entries(files).map(([name, text]) => [`etc/docker/certs.d/a.test/${name}`, text])),
  );
  expect(() => tlsFor('a.test', home.machine)).toThrow(want);
});

test.each(['..', '../../root', 'a.test/../b', '', '.', 'a.test\n', 'a\0b', '/etc', `${'a'.repeat(300)}`, 'a.test:x'])(
  'tlsFor refuses the host %j',
  (host) => {
    using home = new TestHome({ 'etc/docker/certs.d/x.crt': certificate('x'), 'etc/docker/x.crt': certificate('x') });
    expect(() => tlsFor(host, home.machine)).toThrow(/invalid registry host/);
  },
);
