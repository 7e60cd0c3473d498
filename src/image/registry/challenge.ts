/** One way to authenticate, of a `WWW-Authenticate` header. */
export interface Challenge {
  /** In lower case. */
  scheme: string;
  /** Names in lower case. */
  parameters: Record<string, string>;
}

/** What is longer is no challenge that anybody means. */
const MAX_CHARACTERS = 8192;
const MAX_CHALLENGES = 16;

const space = /[\t ]*/y;
const separators = /[\t ,]*/y;
const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[\t ]*(?:,|$))/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const bare = /[^\s",]+/y;

/**
 * Reads `WWW-Authenticate`, several challenges in one header or in several. Text that fits no grammar ends the list: what
 * was read before it stands.
 * @see RFC 9110, 11.6.1
 */
export function parseChallenges(headers: readonly string[]): Challenge[] {
  const challenges: Challenge[] = [];
  for (const header of headers) {
    if (header.length <= MAX_CHARACTERS) readInto(challenges, header);
  }
  return challenges.slice(0, MAX_CHALLENGES);
}

function readInto(challenges: Challenge[], header: string): void {
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match === null) return undefined;
    at = pattern.lastIndex;
    return match[1] ?? match[0];
  };
  let current: Challenge | undefined;
  while (true) {
    take(separators);
    if (at >= header.length) return;
    const word = take(token);
    if (word === undefined) return;
    const afterWord = at;
    take(space);
    if (current !== undefined && header[at] === '=') {
      at += 1;
      take(space);
      const isQuoted = header[at] === '"';
      const value = take(isQuoted ? quoted : bare);
      if (value === undefined) return;
      const name = word.toLowerCase();
      // The first of two counts: what follows may be somebody's addition.
      if (!Object.hasOwn(current.parameters, name)) {
        current.parameters[name] = isQuoted ? value.replaceAll(/\\(.)/g, '$1') : value;
      }
      continue;
    }
    // A scheme is set off from what follows by a space.
    if (at < header.length && at === afterWord && header[at] !== ',') return;
    current = { scheme: word.toLowerCase(), parameters: Object.create(null) as Record<string, string> };
    challenges.push(current);
    take(token68);
  }
}
