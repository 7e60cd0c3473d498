/** The proxies that this process uses, as anybody may see them. */
export interface ShownProxies {
  httpProxy: string;
  httpsProxy: string;
  noProxy: string;
}

/** As the environment names them, spelled either way; who they are used as is nobody's business. */
export function shownProxies(env: NodeJS.ProcessEnv): ShownProxies {
  const read = (name: string) => env[name] || env[name.toLowerCase()] || '';
  return {
    httpProxy: masked(read('HTTP_PROXY')),
    httpsProxy: masked(read('HTTPS_PROXY')),
    noProxy: read('NO_PROXY'),
  };
}

/** Without a user's name and password, in docker's way. */
const masked = (proxy: string): string => proxy.replace(/^([a-z][a-z0-9+.-]*:\/\/)?.*@/is, '$1xxxxx:xxxxx@');
