import { TareError } from '../../errors/index.ts';
import { type Edge, type Vertex, verticesOf } from './graph.ts';

/** A server may answer each question with a graph that asks another one. */
const MAX_DEPTH = 64;

/** Graphs inside of build operations of one build: which stands for which, so that none waits for itself. */
export class NestedGraphs {
  /** By the digest of the operation: the build operations that its graph has. */
  readonly #within = new Map<string, readonly Vertex[]>();
  /** By digest, of operations in graphs of others; the first that was met counts. */
  readonly #depths = new Map<string, number>();

  /** @throws {TareError} InvalidArgument: what the operation stands for needs the operation itself, or stands too deep in others */
  add(by: Vertex, edge: Edge): void {
    const within = verticesOf(edge).filter(({ op }) => op.op.case === 'build');
    if (this.#needs(within, by)) {
      throw new TareError(
        'InvalidArgument',
        `the graph that "${by.name}" (${by.digest}) stands for needs its own result`,
      );
    }
    const depth = (this.#depths.get(by.digest) ?? 0) + 1;
    if (within.length > 0 && depth >= MAX_DEPTH) {
      throw new TareError(
        'InvalidArgument',
        `build operations in build operations: ${depth} deep, at most ${MAX_DEPTH}`,
      );
    }
    for (const { digest } of within) if (!this.#depths.has(digest)) this.#depths.set(digest, depth);
    this.#within.set(by.digest, within);
  }

  #needs(from: readonly Vertex[], wanted: Vertex): boolean {
    const seen = new Set<string>();
    const waiting = [...from];
    for (let vertex = waiting.pop(); vertex !== undefined; vertex = waiting.pop()) {
      if (vertex.digest === wanted.digest) return true;
      if (seen.has(vertex.digest)) continue;
      seen.add(vertex.digest);
      waiting.push(...(this.#within.get(vertex.digest) ?? []));
    }
    return false;
  }
}
