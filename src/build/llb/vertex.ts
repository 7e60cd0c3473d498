import type { Op, OpMetadata, SourceInfo } from '../../protocol/index.ts';
import type { LineRange } from '../progress.ts';

/** For what an operation runs. */
export interface OperationPlatform {
  os: string;
  architecture: string;
  variant?: string;
  osVersion?: string;
  osFeatures?: readonly string[];
}

/** A file that makes graphs; clients show its lines when a vertex fails. */
export interface SourceMap {
  readonly info: SourceInfo;
}

/** What is said about a vertex beside what it does; it takes no part in its digest. */
export interface VertexNotes {
  /** How progress shows it. */
  name?: string;
  /** The instruction that it is made of. */
  command?: string;
  ignoresCache?: boolean;
  progressGroup?: { id: string; name: string; weak: boolean };
  location?: { source: SourceMap; ranges: readonly LineRange[] };
}

/** Numbers the inputs of one operation; the same output is one input. -1 is the empty tree. */
export interface InputTable {
  indexOf(output: Output | undefined): bigint;
  readonly size: number;
}

/** One operation of a graph that is being made. Its digest is known once it is marshalled. */
export interface Vertex {
  /** All that `encode` asks its table for. */
  readonly inputs: readonly Output[];
  readonly notes: VertexNotes;
  /** Features that who runs it must have, as BuildKit names them. */
  readonly capabilities: readonly string[];
  /** Undefined: that of the whole definition; `none`: it has none. */
  readonly platform: OperationPlatform | 'none' | undefined;
  encode(table: InputTable): Op['op'];
  /** Of a definition that came from elsewhere: its bytes stay as they are. */
  readonly given?: { digest: string; bytes: Uint8Array; metadata: OpMetadata | undefined };
}

/** One of a vertex's results. `undefined` in its place is the empty tree. */
export interface Output {
  readonly vertex: Vertex;
  readonly index: number;
}

/**
 * An output that is known only when the graph is whole. The other functions take it as any output; it must be set before marshalling.
 */
export class LaterOutput implements Output {
  #output: Output | undefined;

  set(output: Output): void {
    this.#output = output;
  }

  get #known(): Output {
    if (this.#output === undefined) throw new Error('an output is read before it is set');
    return this.#output;
  }

  get vertex(): Vertex {
    return this.#known.vertex;
  }

  get index(): number {
    return this.#known.index;
  }
}

/** The inputs that are there. */
export const present = (outputs: readonly (Output | undefined)[]): Output[] =>
  outputs.filter((output) => output !== undefined);
