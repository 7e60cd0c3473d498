import { TareError } from '../../errors/index.ts';

const S_IFDIR = 0o040000;
const S_IFMT = 0o170000;

/** Gives the permissions of a file by those that it has; both with its type as in st_mode. */
export type ModeChange = (mode: number) => number;

const bits: Record<string, number> = { u: 0o700, g: 0o070, o: 0o007 };

/**
 * A mode as chmod takes it: octal digits, or clauses such as `u+rwX,go-w`.
 * @throws {TareError} InvalidArgument
 */
export function parseMode(text: string): ModeChange {
  if (/^[0-7]{1,5}$/.test(text)) {
    const value = Number.parseInt(text, 8) & 0o7777;
    return () => value;
  }
  const changes = text.split(',').flatMap((clause) => {
    const [, who, actions] = /^([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)$/.exec(clause) ?? [];
    if (actions === undefined) {
      throw new TareError(
        'InvalidArgument',
        `invalid mode ${JSON.stringify(text)}: want octal digits, or clauses such as u+rwX,go-w`,
      );
    }
    return [...actions.matchAll(/([-+=])([rwxXst]*|[ugo])/g)].map(([, sign, what]) =>
      clauseChange(who === '' || who!.includes('a') ? 'ugo' : who!, sign!, what!),
    );
  });
  return (mode) => changes.reduce((now, change) => (mode & S_IFMT) | change(now), mode) & 0o7777;
}

function clauseChange(who: string, sign: string, what: string): ModeChange {
  const mask = [...who].reduce((sum, one) => sum | bits[one]!, 0);
  const special = (who.includes('u') ? 0o4000 : 0) | (who.includes('g') ? 0o2000 : 0);
  return (mode) => {
    const value = bitsOf(mode, what, mask, special, who);
    const now = mode & 0o7777;
    if (sign === '+') return now | value;
    if (sign === '-') return now & ~value;
    return (now & ~(mask | special | (who === 'ugo' ? 0o1000 : 0))) | value;
  };
}

function bitsOf(mode: number, what: string, mask: number, special: number, who: string): number {
  if (/^[ugo]$/.test(what)) {
    const own = what === 'u' ? (mode >> 6) & 7 : what === 'g' ? (mode >> 3) & 7 : mode & 7;
    return (own | (own << 3) | (own << 6)) & mask;
  }
  let value = 0;
  for (const letter of what) {
    if (letter === 'r') value |= 0o444 & mask;
    else if (letter === 'w') value |= 0o222 & mask;
    else if (letter === 'x') value |= 0o111 & mask;
    else if (letter === 'X') value |= (mode & S_IFMT) === S_IFDIR || (mode & 0o111) !== 0 ? 0o111 & mask : 0;
    else if (letter === 's') value |= special;
    else if (who === 'ugo' || who === '') value |= 0o1000;
  }
  return value;
}
