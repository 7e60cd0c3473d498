import { expect, test } from 'vitest';
import { apiHost, isLoopback, proxySettings } from './hosts.ts';

test.each([
  ['localhost', true],
  ['localhost:5000', true],
  ['127.0.0.1:5000', true],
  ['127.9.9.9', true],
  ['[::1]:5000', true],
  ['localhost.example.com', false],
  ['128.0.0.1', false],
  ['127.0.0.1.example.com', false],
  ['[::2]', false],
])('%s is this machine: %s', (domain, want) => expect(isLoopback(domain)).toBe(want));

test('docker.io answers at another name', () => {
  expect(apiHost('docker.io')).toBe('registry-1.docker.io');
  expect(apiHost('quay.io')).toBe('quay.io');
});

test.each([
  { noProxy: 'example.com', url: 'https://example.com', want: true },
  { noProxy: 'example.com', url: 'https://a.example.com', want: true },
  { noProxy: 'example.com', url: 'https://notexample.com', want: false },
  { noProxy: '.example.com', url: 'https://example.com', want: false },
  { noProxy: '.example.com,other', url: 'https://a.EXAMPLE.com', want: true },
  { noProxy: 'example.com:5000', url: 'https://example.com', want: false },
  { noProxy: 'example.com:5000', url: 'https://example.com:5000', want: true },
  { noProxy: 'example.com:443', url: 'https://example.com', want: true },
  { noProxy: '10.0.0.0/8', url: 'http://10.2.3.4:5000', want: true },
  { noProxy: '10.0.0.0/8', url: 'http://11.2.3.4:5000', want: false },
  { noProxy: '2001:db8::/32', url: 'http://[2001:db8::1]:5000', want: true },
  { noProxy: '10.0.0.0/99', url: 'http://10.2.3.4', want: false },
  { noProxy: '*', url: 'https://any.test', want: true },
  { noProxy: '', url: 'https://any.test', want: false },
  { noProxy: '', url: 'http://127.0.0.1:5000', want: true },
  { noProxy: '', url: 'http://localhost:5000', want: true },
])('NO_PROXY=$noProxy leaves out $url: $want', ({ noProxy, url, want }) => {
  expect(proxySettings({ NO_PROXY: noProxy }).bypasses(new URL(url))).toBe(want);
});

test('proxies in either spelling', () => {
  const settings = proxySettings({ http_proxy: 'proxy.test:3128', HTTPS_PROXY: 'https://secure.test' });
  expect(settings).toMatchObject({ http: 'http://proxy.test:3128', https: 'https://secure.test' });
});
