import type { VertexProgress } from '../progress.ts';

/** Does one part of an export under its line of the progress. */
export async function shown<T>(progress: VertexProgress, line: string, work: () => Promise<T>): Promise<T> {
  progress.status(line, {});
  const result = await work();
  progress.status(line, { isDone: true });
  return result;
}
