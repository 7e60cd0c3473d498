import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { rangesOfWord } from '../named-word.ts';
import { type SourcePlace, VertexError } from '../vertex-error.ts';
import type { Vertex } from './graph.ts';

/** What a build that was given up says, in its client's words. */
export const canceled = (): TareError => new TareError('Unavailable', 'context canceled');

const exitCodeOf = (error: unknown): number | undefined => {
  const code = (error as { exitCode?: unknown } | null)?.exitCode;
  return typeof code === 'number' ? code : undefined;
};

/** An error with the vertex that it came from, and the lines of that. */
export function failureOf(vertex: Pick<Vertex, 'digest' | 'places'>, error: unknown, during = ''): VertexError {
  if (error instanceof VertexError) {
    if (error.places.length > 0 || error.vertex !== vertex.digest || vertex.places.length === 0) return error;
    const where = { vertex: vertex.digest, places: vertex.places, exitCode: error.exitCode };
    return new VertexError(error.kind, error.message, where, { cause: error });
  }
  const message = messageOf(error);
  const exitCode = exitCodeOf(error);
  // What a command says of itself is about all of it.
  const places = exitCode === undefined ? vertex.places.map((place) => narrowed(place, message)) : vertex.places;
  return new VertexError(
    kindOf(error),
    `${during}${message}`,
    { vertex: vertex.digest, places, exitCode },
    { cause: error },
  );
}

const narrowed = ({ source, ranges }: SourcePlace, message: string): SourcePlace => ({
  source,
  ranges: rangesOfWord(ranges, source.data, message),
});
