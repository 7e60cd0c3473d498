import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type Definition, type Op, type OpMetadata, OpSchema, type Platform } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { SourcePlace } from '../vertex-error.ts';
import { failureOf } from './failure.ts';
import { nameOf } from './vertex-name.ts';

/** What is done to make trees of trees. */
export interface Vertex {
  /** Of its bytes in the definition, with what was changed of them: also its name towards clients. */
  readonly digest: string;
  readonly op: Op;
  readonly inputs: readonly Edge[];
  readonly platform: Platform | undefined;
  readonly metadata: OpMetadata | undefined;
  /** What users read. */
  readonly name: string;
  /** Lines that it was made from. */
  readonly places: readonly SourcePlace[];
  /** For the graph that it stands for, if it is a build operation. */
  readonly policy: GraphPolicy;
}

/** One output of a vertex. */
export interface Edge {
  readonly vertex: Vertex;
  readonly output: number;
}

/** Bounds for what a client may send. */
const MAX_VERTICES = 50_000;
const MAX_BYTES = 64 << 20;
const MAX_OUTPUT = 10_000n;
const MAX_ACTIONS = 10_000;
const MAX_INPUTS = 10_000;
/** Of a command; each is looked at with all others. */
export const MAX_MOUNTS = 1_000;

/** Looks at an operation before it becomes part of a graph; may change it in place. @returns whether it did @throws {TareError} Forbidden … */
export type OperationCheck = (op: Op) => boolean;

/** What holds for a graph and for the graphs that its build operations stand for. */
export interface GraphPolicy {
  /** Equal for policies that want the same; empty: they want nothing. */
  readonly id: string;
  readonly check: OperationCheck;
}

export const noPolicy: GraphPolicy = { id: '', check: () => false };

/**
 * Reads a definition: its last entry says which output of the one before is wanted.
 *
 * @returns undefined: nothing is wanted, the empty tree
 * @throws {TareError} InvalidArgument: a graph with a missing or unknown part; Unsupported: an operation that this builder does not have
 */
export function loadDefinition(definition: Definition, policy = noPolicy): Edge | undefined {
  if (definition.def.length > MAX_VERTICES) {
    throw invalid(`it has ${definition.def.length} vertices: at most ${MAX_VERTICES}`);
  }
  if (definition.def.reduce((sum, bytes) => sum + bytes.length, 0) > MAX_BYTES) {
    throw invalid(`it has over ${MAX_BYTES} bytes`);
  }
  const ops = new Map<string, Op>();
  let last: Op | undefined;
  for (const bytes of definition.def) {
    last = decode(bytes);
    ops.set(digestOf(bytes), last);
  }
  if (last === undefined) return undefined;
  if (last.op.case !== undefined) throw invalid('its last vertex must only say which output is wanted');
  const [wanted, ...others] = last.inputs;
  if (wanted === undefined) return undefined;
  if (others.length > 0) throw invalid(`its last vertex wants ${last.inputs.length} outputs: exactly one`);
  const vertices = link(definition, ops, wanted.digest, policy);
  return edgeOf(vertices, wanted);
}

const invalid = (why: string): TareError => new TareError('InvalidArgument', `invalid definition: ${why}`);

function decode(bytes: Uint8Array): Op {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (error) {
    throw new TareError('InvalidArgument', `invalid definition: ${digestOf(bytes)} is no operation`, { cause: error });
  }
}

/** Makes vertices of what the wanted one needs, inputs first. A digest cannot name what is made of itself, so there is no cycle. */
function link(definition: Definition, ops: ReadonlyMap<string, Op>, root: string, policy: GraphPolicy) {
  const vertices = new Map<string, Vertex>();
  const placesOf = readPlaces(definition);
  const waiting = [root];
  const begun = new Set<string>();
  for (let digest = waiting.at(-1); digest !== undefined; digest = waiting.at(-1)) {
    const op = ops.get(digest);
    if (op === undefined) throw invalid(`there is no vertex ${digest}, which is an input`);
    requireBounded(digest, op);
    const missing = op.inputs.filter((input) => !vertices.has(input.digest));
    if (missing.length > 0 && !begun.has(digest)) {
      begun.add(digest);
      waiting.push(...missing.map((input) => input.digest));
      continue;
    }
    waiting.pop();
    if (vertices.has(digest)) continue;
    if (op.op.case === undefined) {
      throw new TareError('Unsupported', `vertex ${digest} has an operation that this builder does not know`);
    }
    const metadata = definition.metadata[digest];
    const inputs = op.inputs.map((input) => edgeOf(vertices, input));
    // By what the client wrote, not by what a policy makes of it.
    const name = nameOf(
      op,
      metadata,
      inputs.map(({ vertex }) => vertex.name),
    );
    const places = placesOf(digest);
    const isChanged = located({ digest, places }, () => policy.check(op));
    const known = isChanged || hasChanged(op, inputs) ? digestOf(changedOp(op, inputs)) : digest;
    vertices.set(digest, {
      ...{ op, metadata, name, inputs, policy },
      // One definition is another graph under other policies.
      digest: op.op.case === 'build' && policy.id !== '' ? digestOf(`${known} ${policy.id}`) : known,
      platform: op.platform,
      places,
    });
  }
  return vertices;
}

/** Outputs are lists by number, and each file action and each mount is looked at with all others. */
function requireBounded(digest: string, { op, inputs }: Op): void {
  if (inputs.length > MAX_INPUTS) throw invalid(`${digest} has ${inputs.length} inputs: at most ${MAX_INPUTS}`);
  const isExec = op.case === 'exec';
  const making = isExec ? op.value.mounts : op.case === 'file' ? op.value.actions : [];
  const far = making.find(({ output }) => output > MAX_OUTPUT);
  if (far !== undefined) throw invalid(`${digest} makes an output ${far.output}: at most ${MAX_OUTPUT}`);
  const most = isExec ? MAX_MOUNTS : MAX_ACTIONS;
  if (making.length > most)
    throw invalid(`${digest} has ${making.length} ${isExec ? 'mounts' : 'file actions'}: at most ${most}`);
}

function located<T>(vertex: Pick<Vertex, 'digest' | 'places'>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw failureOf(vertex, error);
  }
}

const hasChanged = ({ inputs: named }: Op, inputs: readonly Edge[]): boolean =>
  inputs.some(({ vertex }, index) => vertex.digest !== named[index]!.digest);

/** As it would be if the client had written what the check made of it and of its inputs. */
function changedOp(op: Op, inputs: readonly Edge[]): Uint8Array {
  for (const [index, { vertex }] of inputs.entries()) op.inputs[index]!.digest = vertex.digest;
  return toBinary(OpSchema, op);
}

function edgeOf(vertices: ReadonlyMap<string, Vertex>, { digest, index }: { digest: string; index: bigint }): Edge {
  const vertex = vertices.get(digest);
  if (vertex === undefined) throw invalid(`there is no vertex ${digest}, which is an input`);
  if (index < 0n || index > MAX_OUTPUT) throw invalid(`${digest} has no output ${index}`);
  return { vertex, output: Number(index) };
}

function readPlaces({ Source: source }: Definition): (digest: string) => readonly SourcePlace[] {
  const files = (source?.infos ?? []).map(({ filename, data, language }) => ({ filename, data, language }));
  return (digest) =>
    (source?.locations[digest]?.locations ?? []).flatMap(({ sourceIndex, ranges }) => {
      const file = files[sourceIndex];
      const position = (at: { line: number; character: number } | undefined) => ({
        line: at?.line ?? 0,
        character: at?.character ?? 0,
      });
      return file === undefined
        ? []
        : [{ source: file, ranges: ranges.map(({ start, end }) => ({ start: position(start), end: position(end) })) }];
    });
}

/** All that an edge needs, inputs first. */
export function verticesOf(edge: Edge): Vertex[] {
  const ordered = new Set<Vertex>();
  const waiting = [edge.vertex];
  const begun = new Set<Vertex>();
  for (let vertex = waiting.at(-1); vertex !== undefined; vertex = waiting.at(-1)) {
    if (!begun.has(vertex)) {
      begun.add(vertex);
      waiting.push(...vertex.inputs.map((input) => input.vertex).filter((input) => !begun.has(input)));
      continue;
    }
    waiting.pop();
    ordered.add(vertex);
  }
  return [...ordered];
}
