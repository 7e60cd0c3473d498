import { TareError } from '../../errors/index.ts';
import type { LineRange } from '../progress.ts';
import { SourceError } from '../source-error.ts';
import { FrontendError, VertexError } from '../vertex-error.ts';

/** The same error with the lines that it comes from; one that knows its place keeps it. What is no error of ours stays as it is. */
export function located(error: unknown, ranges: readonly LineRange[]): unknown {
  if (!(error instanceof TareError) || error instanceof VertexError) return error;
  if (error instanceof FrontendError && error.places.length > 0) return error;
  if (error instanceof SourceError && error.ranges.length > 0) return error;
  return new SourceError(error.kind, error.message, { ranges }, { cause: error });
}

export function at<T>(ranges: readonly LineRange[], work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw located(error, ranges);
  }
}

export async function atLater<T>(ranges: readonly LineRange[], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw located(error, ranges);
  }
}
