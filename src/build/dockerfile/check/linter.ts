import { TareError } from '../../../errors/index.ts';
import { parseGoBoolean, suggestion } from '../../../image/index.ts';
import type { LineRange } from '../../progress.ts';
import { SourceError } from '../../source-error.ts';
import { DirectiveReader } from '../parse/directives.ts';
import type { Rule } from './rules.ts';

/** Which checks are made: `skip=…`, `experimental=…`, `error=true`. */
export interface CheckOptions {
  readonly skips: ReadonlySet<string> | 'all';
  readonly experimental: ReadonlySet<string> | 'all';
  /** What a check finds fails the build. */
  readonly isError: boolean;
}

export interface LintWarning {
  readonly rule: Rule;
  readonly message: string;
  readonly ranges: readonly LineRange[];
}

const MAX_WARNINGS = 10_000;
/** Whoever has so many names wrong is not helped by guesses, each of which is compared with all names that there are. */
const MAX_HINTS = 100;
const none: CheckOptions = { skips: new Set(), experimental: new Set(), isError: false };

const broken = (message: string) => new TareError('InvalidArgument', message);

/**
 * Reads the value of `# check=`, or of the build argument BUILDKIT_DOCKERFILE_CHECK, which comes before it.
 * @throws {TareError} InvalidArgument: another option, or no boolean
 */
export function parseCheckOptions(text: string): CheckOptions {
  let options = none;
  if (text.trim() === '') return options;
  for (const part of text.trim().split(';')) {
    const equals = part.indexOf('=');
    if (equals < 0) throw broken(`invalid check option ${JSON.stringify(part)}`);
    const key = part.slice(0, equals).trim();
    const value = part.slice(equals + 1).trim();
    if (key === 'skip') options = { ...options, skips: namesIn(value) };
    else if (key === 'experimental') options = { ...options, experimental: namesIn(value) };
    else if (key === 'error') options = { ...options, isError: booleanIn(part, value) };
    else throw broken(`invalid check option ${JSON.stringify(key)}: want skip, error or experimental`);
  }
  return options;
}

function namesIn(value: string): ReadonlySet<string> | 'all' {
  return value === 'all' ? 'all' : new Set(value.split(',').map((name) => name.trim()));
}

function booleanIn(part: string, value: string): boolean {
  const is = parseGoBoolean(value);
  if (is !== undefined) return is;
  throw broken(`failed to parse check option ${JSON.stringify(part)}: ${JSON.stringify(value)} is no boolean`);
}

/** Takes what checks find, but for what the options leave out. */
export class Linter {
  readonly #options: CheckOptions;
  readonly #warn: (warning: LintWarning) => void;
  readonly #found: LintWarning[] = [];
  /** Of what was found: rule, line and message. */
  readonly #known = new Set<string>();
  #hints = 0;

  constructor(options: CheckOptions, warn: (warning: LintWarning) => void = () => {}) {
    this.#options = options;
    this.#warn = warn;
  }

  /** In order; what is said twice of one place is there once. */
  get warnings(): readonly LintWarning[] {
    return this.#found;
  }

  get mayHint(): boolean {
    return this.#hints < MAX_HINTS;
  }

  /** ` (did you mean …?)`, when one of the names is near; '' for those that come after very many. */
  hint(name: string, names: Iterable<string>, prefix: string): string {
    if (!this.mayHint) return '';
    this.#hints += 1;
    const meant = suggestion(name, names);
    return meant === undefined ? '' : ` (did you mean ${prefix}${meant}?)`;
  }

  /** @param comments just above the instruction: `# check=` among them counts for it alone */
  run(rule: Rule, place: { ranges: readonly LineRange[]; comments?: readonly string[] }, message: string): void {
    const own = optionsIn(place.comments ?? []);
    const isIn = (names: ReadonlySet<string> | 'all') => names === 'all' || names.has(rule.name);
    const isWanted = rule.isExperimental
      ? isIn(this.#options.experimental) || isIn(own.experimental)
      : !isIn(this.#options.skips) && !isIn(own.skips);
    if (!isWanted || this.#found.length >= MAX_WARNINGS) return;
    const warning = { rule, message, ranges: place.ranges };
    // A stage that is built for several platforms is checked as often.
    const id = `${rule.name} ${place.ranges[0]?.start.line} ${message}`;
    if (this.#known.has(id)) return;
    this.#known.add(id);
    this.#found.push(warning);
    this.#warn(warning);
  }

  /** @throws {SourceError} InvalidArgument: `error=true`, and something was found */
  requireClean(): void {
    const first = this.#found[0];
    if (!this.#options.isError || first === undefined) return;
    const names = [...new Set(this.#found.map(({ rule }) => rule.name))];
    const message = `lint violation found for rules: ${names.join(', ')}`;
    throw new SourceError('InvalidArgument', message, { ranges: first.ranges });
  }
}

function optionsIn(comments: readonly string[]): CheckOptions {
  for (const comment of comments) {
    const reader = new DirectiveReader('');
    if (!/^check/i.test(comment) || !reader.readLine(comment, 0)) continue;
    const value = reader.found.get('check')?.value;
    if (value === undefined) continue;
    try {
      return parseCheckOptions(value.split(' ', 1)[0]!);
    } catch (error) {
      if (error instanceof TareError) return none;
      throw error;
    }
  }
  return none;
}
