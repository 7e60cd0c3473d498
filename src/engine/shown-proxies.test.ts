import { expect, test } from 'vitest';
import { shownProxies } from './shown-proxies.ts';

test.each([
  { proxy: 'http://proxy.test:3128', want: 'http://proxy.test:3128' },
  { proxy: 'http://me:secret@proxy.test:3128/', want: 'http://xxxxx:xxxxx@proxy.test:3128/' },
  { proxy: 'me:se@cret@proxy.test', want: 'xxxxx:xxxxx@proxy.test' },
  { proxy: 'HTTPS://me@proxy.test', want: 'HTTPS://xxxxx:xxxxx@proxy.test' },
  { proxy: '', want: '' },
])('$proxy is shown as $want', ({ proxy, want }) => {
  expect(shownProxies({ HTTP_PROXY: proxy, https_proxy: proxy, no_proxy: 'a.test' })).toEqual({
    ...{ httpProxy: want, httpsProxy: want },
    noProxy: 'a.test',
  });
});
