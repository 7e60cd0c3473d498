import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { VertexError } from '../vertex-error.ts';
import type { Vertex } from './graph.ts';

/** What a build that was given up says, in its client's words. */
export const canceled = (): TareError => new TareError('Unavailable', 'context canceled');

const exitCodeOf = (error: unknown): number | undefined => {
  const code = (error as { exitCode?: unknown } | null)?.exitCode;
  return typeof code === 'number' ? code : undefined;
};

/** An error with the vertex that it came from, and the lines of that. */
export function failureOf(vertex: Vertex, error: unknown, during = ''): VertexError {
  if (error instanceof VertexError) {
    if (error.places.length > 0 || error.vertex !== vertex.digest || vertex.places.length === 0) return error;
    const where = { vertex: vertex.digest, places: vertex.places, exitCode: error.exitCode };
    return new VertexError(error.kind, error.message, where, { cause: error });
  }
  const where = { vertex: vertex.digest, places: vertex.places, exitCode: exitCodeOf(error) };
  return new VertexError(kindOf(error), `${during}${messageOf(error)}`, where, { cause: error });
}
