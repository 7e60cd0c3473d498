import { type ErrorKind, TareError } from '../errors/index.ts';
import { rangesOfWord } from './named-word.ts';
import type { LineRange, SourceFile } from './progress.ts';

/** An error with its place in a file that the build was asked to read: clients show the lines. */
export class SourceError extends TareError {
  /** Lines from 1, characters from 0. Empty: the file as a whole. */
  readonly ranges: readonly LineRange[];
  /** Undefined: the file is known by who reads it. */
  readonly source: SourceFile | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    place: { ranges: readonly LineRange[]; source?: SourceFile | undefined },
    options?: ErrorOptions,
  ) {
    super(kind, message, options);
    this.ranges = place.ranges;
    this.source = place.source;
  }

  /** The same error, with the file, in which it is looked for the word that it is about. */
  within(source: SourceFile): SourceError {
    const ranges = rangesOfWord(this.ranges, source.data, this.message);
    return new SourceError(this.kind, this.message, { ranges, source }, { cause: this.cause ?? this });
  }
}
