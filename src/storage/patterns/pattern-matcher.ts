import { TareError } from '../../errors/index.ts';
import { cleanPattern, compilePathPattern } from './path-pattern.ts';

const MAX_PATTERNS = 20_000;

/** Which patterns a folder or one above it matched; for what is in it. */
export interface FolderMatch {
  readonly isMatched: boolean;
  /** 1 for each pattern that matched. */
  readonly patterns: Uint8Array;
}

/**
 * Says which paths a list of patterns matches: the last one that fits decides, those with `!` take back, and what is in a folder that
 * matched has matched.
 *
 * @see moby/patternmatcher, MatchesOrParentMatches and MatchesUsingParentResults
 */
export class PatternMatcher {
  /** Some pattern takes back: in a folder that matched there may be what did not. */
  readonly hasExceptions: boolean;
  readonly #patterns: readonly { readonly isException: boolean; readonly fits: (path: string) => boolean }[];

  /** @throws {TareError} InvalidArgument: a malformed pattern, or too many */
  constructor(patterns: readonly string[]) {
    if (patterns.length > MAX_PATTERNS) {
      throw new TareError('InvalidArgument', `${patterns.length} patterns: at most ${MAX_PATTERNS} are allowed`);
    }
    this.#patterns = patterns
      .map((pattern) => pattern.trim())
      .filter((pattern) => pattern !== '')
      .map((written) => {
        const pattern = cleanPattern(written);
        const isException = pattern.startsWith('!');
        if (pattern === '!') throw new TareError('InvalidArgument', 'illegal exclusion pattern: "!"');
        return { isException, fits: compilePathPattern(isException ? pattern.slice(1) : pattern) };
      });
    this.hasExceptions = this.#patterns.some(({ isException }) => isException);
  }

  /** @param path relative, clean, slash-separated */
  matches(path: string): boolean {
    let isMatched = false;
    const parents = parentsOf(path);
    for (const { isException, fits } of this.#patterns) {
      // A pattern that would change nothing need not be looked at.
      if (isException !== isMatched) continue;
      if (fits(path) || parents.some(fits)) isMatched = !isException;
    }
    return isMatched;
  }

  /**
   * As `matches`, for who walks a tree: parents are not looked at again. As in moby/patternmatcher, a folder that was not matched is not
   * taken back either: an exception for it says nothing of what patterns match in it.
   *
   * @param folder undefined: it is at the top
   */
  matchesIn(folder: FolderMatch | undefined, path: string): boolean {
    let isMatched = false;
    for (const [index, { isException, fits }] of this.#patterns.entries()) {
      if (folder?.patterns[index] === 1 || (isException === isMatched && fits(path))) isMatched = !isException;
    }
    return isMatched;
  }

  /** As `matchesIn`, for a folder whose entries come next. */
  enter(folder: FolderMatch | undefined, path: string): FolderMatch {
    const patterns = new Uint8Array(this.#patterns.length);
    let isMatched = false;
    for (const [index, { isException, fits }] of this.#patterns.entries()) {
      if (folder?.patterns[index] !== 1 && (isException !== isMatched || !fits(path))) continue;
      patterns[index] = 1;
      isMatched = !isException;
    }
    return { isMatched, patterns };
  }
}

function parentsOf(path: string): string[] {
  const parents: string[] = [];
  for (let slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1))
    parents.push(path.slice(0, slash));
  return parents;
}
