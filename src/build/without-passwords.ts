/** Addresses of contexts, proxies and repositories may bear a password or a token. */
export const withoutPasswords = (text: string): string =>
  text
    .replaceAll(/(\b[a-z][a-z0-9+.-]*:\/\/[^/?#@\s:]*):[^/?#@\s]*@/gi, '$1:xxxxx@')
    .replaceAll(/(\bhttps?:\/\/)[^/?#@\s:]+@/gi, '$1xxxxx@');
