/**
 * Addresses of contexts, proxies and repositories may bear a password or a token, which goes to the last `@` before the path. Schemes are
 * short: else a long text without an address would be looked through again from each of its words.
 */
export const withoutPasswords = (text: string): string =>
  text
    .replaceAll(/(\b[a-z][a-z0-9+.-]{0,31}:\/\/[^/?#\s:]*):[^/?#\s]*@/gi, '$1:xxxxx@')
    .replaceAll(/(\bhttps?:\/\/)[^/?#\s:]+@/gi, '$1xxxxx@');
