import { expect, test } from 'vitest';
import { hostsFile, isExtraHost, resolvConf, splitExtraHost } from './name-files.ts';

const plain = { dns: [], dnsSearch: [], dnsOptions: [], keepLoopback: false };

test.each([
  [
    'the host as it is',
    'nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n',
    plain,
    'nameserver 192.0.2.1\nsearch a b\noptions ndots:2\n',
  ],
  ['loopback left out', 'nameserver 127.0.0.1\nnameserver 192.0.2.1\n', plain, 'nameserver 192.0.2.1\n'],
  [
    'loopback kept for the host network',
    'nameserver 127.0.0.1\n',
    { ...plain, keepLoopback: true },
    'nameserver 127.0.0.1\n',
  ],
  ['only loopback', 'nameserver ::1\n', plain, 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n'],
  [
    'the user first',
    'nameserver 192.0.2.1\nsearch a\n',
    { ...plain, dns: ['192.0.2.9'], dnsSearch: ['z'] },
    'nameserver 192.0.2.9\nsearch z\n',
  ],
  [
    'a dot clears the search list',
    'nameserver 192.0.2.1\nsearch a\n',
    { ...plain, dnsSearch: ['.'] },
    'nameserver 192.0.2.1\n',
  ],
  ['domain stands for search', 'domain corp\nnameserver 192.0.2.1\n', plain, 'nameserver 192.0.2.1\nsearch corp\n'],
])('resolv.conf: %s', (_name, host, input, want) => expect(resolvConf(host, input)).toBe(want));

test('hosts: own addresses, extra hosts and the gateway', () => {
  const text = hostsFile({
    hostname: 'web',
    domainname: 'example.org',
    addresses: ['172.17.0.2'],
    extraHosts: ['db:192.0.2.7', 'v6=[2001:db8::1]', 'gw:host-gateway'],
    linked: [{ names: 'db2 0123456789ab postgres', addresses: ['172.17.0.3', '2001:db8::3'] }],
    gateway: '172.17.0.1',
  });
  expect(text).toContain('127.0.0.1\tlocalhost\n');
  expect(text).toContain('192.0.2.7\tdb\n2001:db8::1\tv6\n172.17.0.1\tgw\n');
  expect(text.endsWith('172.17.0.2\tweb.example.org web\n')).toBe(true);
});

test.each([
  ['a:1.2.3.4', ['a', '1.2.3.4'], true],
  ['a:2001:db8::1', ['a', '2001:db8::1'], true],
  ['a=host-gateway', ['a', 'host-gateway'], true],
  ['a:nowhere', ['a', 'nowhere'], false],
  ['a', ['a', ''], false],
])('extra host %s', (entry, parts, ok) => {
  expect(splitExtraHost(entry)).toEqual(parts);
  expect(isExtraHost(entry)).toBe(ok);
});
