import { createHash } from 'node:crypto';
import type { BuildProgress, InstructionList, ListedInstruction, VertexState } from '../../build/index.ts';
import { canonical, parseReference, withDefaultTag } from '../../image/index.ts';
import type { InstructionSink } from './instruction-events.ts';
import type { LocatedGraph } from './located-graph.ts';

/** Of one part's output that comes before its turn. */
const MAX_WAITING_BYTES = 1 << 20;

/** An image that a stage begins with. */
export interface ShownBase {
  /** 64 hex digits. */
  id: string;
  /** Instructions that it has left to be run. */
  triggers: number;
}

interface Shown extends ListedInstruction {
  /** Parts of the graph that were made from it. */
  vertices: string[];
}

interface Waiting {
  stream: 1 | 2;
  bytes: Uint8Array;
}

/**
 * A build's progress as that of its file's instructions, one after the other. What runs side by side, or out of order, waits here for its
 * turn to be told.
 */
export class InstructionView {
  readonly #graph: LocatedGraph;
  readonly #instructions: readonly Shown[];
  readonly #bases: ReadonlyMap<string, ShownBase>;
  readonly #tell: InstructionSink;
  readonly #states = new Map<string, VertexState>();
  /** Parts that must be there, for something made of them is under way. */
  readonly #implied = new Set<string>();
  readonly #waiting = new Map<string, { output: Waiting[]; sizeBytes: number }>();
  readonly #running = new Set<string>();
  readonly #ids: (string | undefined)[] = [];
  #index = 0;
  #isBegun = false;
  #isOver = false;

  /** @param bases by `imageKey` */
  constructor(
    graph: LocatedGraph,
    { instructions, unusedArgs }: InstructionList,
    bases: ReadonlyMap<string, ShownBase>,
    tell: InstructionSink,
  ) {
    this.#graph = graph;
    this.#bases = bases;
    this.#tell = tell;
    this.#instructions = instructions.map((instruction) => ({ vertices: [], ...instruction }));
    const byLine = new Map(this.#instructions.map((instruction) => [instruction.line, instruction]));
    for (const [digest, { line }] of graph) {
      if (line !== undefined) byLine.get(line)?.vertices.push(digest);
    }
    tell({ type: 'plan', instructions: instructions.map(({ text }) => text), unusedArgs });
  }

  /** The first instruction begins. */
  start(): void {
    this.#advance();
  }

  update({ vertices = [], logs = [] }: BuildProgress): void {
    for (const state of vertices) {
      this.#states.set(state.digest, state);
      if (this.#hasInputs(state)) this.#imply(state.digest);
    }
    for (const { vertex, stream, bytes } of logs) this.#keep(vertex, { stream: stream === 2 ? 2 : 1, bytes });
    this.#advance();
  }

  /** All was made. @param id of the image, 64 hex digits; undefined: none was wanted */
  finish(id: string | undefined): void {
    for (const { vertices } of this.#instructions) for (const vertex of vertices) this.#implied.add(vertex);
    this.#isOver = true;
    this.#advance(id);
  }

  /** @param vertex what failed; or the line that is wrong */
  fail(at: { vertex?: string; line?: number | undefined; exitCode?: number | undefined }): void {
    const failed = this.#instructions.findIndex(({ line, vertices }) =>
      at.vertex === undefined ? line === at.line : vertices.includes(at.vertex),
    );
    // What else was under way is not told of any more.
    if (failed >= 0 && failed !== this.#index) {
      this.#index = failed;
      this.#isBegun = false;
    }
    this.#begin();
    const current = this.#instructions[this.#index];
    const op = at.vertex === undefined ? undefined : this.#graph.get(at.vertex)?.op.op;
    const command = op?.case === 'exec' ? op.value.meta?.args.join(' ') : undefined;
    this.#tell({
      type: 'failed',
      ...(command === undefined ? {} : { command }),
      ...(at.exitCode === undefined ? {} : { exitCode: at.exitCode }),
      transfers: current?.kind === 'copy' || current?.kind === 'add',
    });
  }

  /** Whether all that it needs is there. Others than commands begin with a look at a part of their inputs. */
  #hasInputs({ digest, startedMs, completedMs, error }: VertexState): boolean {
    const vertex = this.#graph.get(digest);
    if (completedMs !== undefined) return error === undefined || error === '';
    return startedMs !== undefined && vertex?.op.op.case === 'exec' && vertex.inputs.length <= 1;
  }

  #imply(digest: string): void {
    const waiting = [...(this.#graph.get(digest)?.inputs ?? [])];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (this.#implied.has(next)) continue;
      this.#implied.add(next);
      waiting.push(...(this.#graph.get(next)?.inputs ?? []));
    }
  }

  #keep(vertex: string, output: Waiting): void {
    const kept = this.#waiting.get(vertex) ?? { output: [], sizeBytes: 0 };
    this.#waiting.set(vertex, kept);
    kept.sizeBytes += output.bytes.length;
    if (kept.sizeBytes <= MAX_WAITING_BYTES) kept.output.push(output);
  }

  #advance(imageID?: string): void {
    for (let current = this.#begin(); current !== undefined; current = this.#begin()) {
      const { vertices } = current;
      if (!vertices.every((vertex) => this.#isDone(vertex))) return;
      const isLast = this.#index === this.#instructions.length - 1;
      // What the last one made is known when the image is.
      if (isLast && !this.#isOver) return;
      const id = (isLast ? imageID : undefined) ?? this.#idOf(current);
      this.#ids[this.#index] = id;
      const isCached = vertices.length > 0 && vertices.every((vertex) => this.#wasCached(vertex));
      const made = id === undefined ? {} : { id };
      this.#tell({ type: 'end', isCached: isCached && current.kind !== 'from', ...made });
      this.#index += 1;
      this.#isBegun = false;
    }
  }

  /** Tells that the next instruction begins, if nobody did, and what it says. */
  #begin(): Shown | undefined {
    const current = this.#instructions[this.#index];
    if (current === undefined) return undefined;
    if (!this.#isBegun) {
      this.#isBegun = true;
      this.#tell({ type: 'begin', index: this.#index });
      const count = this.#baseOf(current)?.triggers ?? 0;
      if (count > 0) this.#tell({ type: 'triggers', count });
    }
    for (const vertex of current.vertices) this.#tellOutput(vertex);
    return current;
  }

  #tellOutput(vertex: string): void {
    const state = this.#states.get(vertex);
    const isCommand = this.#graph.get(vertex)?.op.op.case === 'exec';
    if (isCommand && state?.startedMs !== undefined && !state.isCached && !this.#running.has(vertex)) {
      this.#running.add(vertex);
      this.#tell({ type: 'run', id: hashOf('run', vertex, String(state.startedMs)) });
    }
    const kept = this.#waiting.get(vertex);
    if (kept === undefined) return;
    this.#waiting.delete(vertex);
    for (const { stream, bytes } of kept.output) this.#tell({ type: 'output', stream, bytes });
    if (kept.sizeBytes <= MAX_WAITING_BYTES) return;
    const note = `[output clipped: over ${MAX_WAITING_BYTES} bytes came before their turn]\n`;
    this.#tell({ type: 'output', stream: 2, bytes: Buffer.from(note) });
  }

  #isDone(vertex: string): boolean {
    const state = this.#states.get(vertex);
    if (state?.completedMs !== undefined) return state.error === undefined || state.error === '';
    return this.#implied.has(vertex);
  }

  #wasCached(vertex: string): boolean {
    const state = this.#states.get(vertex);
    return state?.completedMs === undefined || state.isCached;
  }

  #baseOf({ base }: Shown): ShownBase | undefined {
    return base === undefined || base.stage !== undefined ? undefined : this.#bases.get(imageKey(base.name));
  }

  /** A name for what stands after an instruction that made no image. */
  #idOf(current: Shown): string | undefined {
    const { kind, text, vertices, base } = current;
    if (base?.stage !== undefined) return this.#ids[base.stage];
    if (base?.name === 'scratch') return '';
    const image = this.#baseOf(current);
    if (image !== undefined && image.triggers === 0) return image.id;
    const before = this.#ids[this.#index - 1];
    // The arguments before the first stage make nothing.
    if (kind === 'arg' && before === undefined && !this.#isInStage()) return undefined;
    return hashOf('made', before ?? '', text, ...vertices);
  }

  #isInStage(): boolean {
    return this.#instructions.slice(0, this.#index).some(({ kind }) => kind === 'from');
  }
}

/** The same for all ways to write an image's name; a digest does not count. */
export function imageKey(name: string): string {
  try {
    const { digest: _, ...named } = withDefaultTag(parseReference(name));
    return canonical(named);
  } catch {
    return name;
  }
}

const hashOf = (...parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex');
