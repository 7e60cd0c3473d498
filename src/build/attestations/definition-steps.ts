import { type DescMessage, fromBinary, type MessageShape } from '@bufbuild/protobuf';
import { isReflectList, isReflectMap, isReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { TareError } from '../../errors/index.ts';
import { type Definition, LocationsSchema, type Op, OpSchema } from '../../protocol/index.ts';
import { digestOf } from '../../storage/index.ts';
import { withoutPasswords } from '../without-passwords.ts';

/** One operation of a graph, as provenance shows it. */
export interface DefinitionStep {
  id: string;
  op: object;
  /** `step0:0`: an output of a step before. */
  inputs?: string[];
}

export interface DefinitionSteps {
  steps: DefinitionStep[];
  /** Steps by the digest of their operation. */
  ids: ReadonlyMap<string, string>;
}

/** Attributes of sources that are of one build and one client alone. */
const fleeting = new Set(['local.session', 'local.unique', 'oci.session']);

/**
 * A graph as a list of steps, inputs first, the last of them saying which output is the result.
 * @throws {TareError} InvalidArgument: a graph with a missing or unknown part, as only one that nobody has built may be
 */
export function definitionSteps({ def }: Definition): DefinitionSteps {
  const ops = new Map(def.map((bytes) => [digestOf(bytes) as string, decode(bytes)]));
  const last = def.at(-1);
  const ordered = last === undefined ? [] : inOrder(ops, digestOf(last));
  const ids = new Map(ordered.map((digest, position) => [digest, `step${position}`]));
  const steps = ordered.map((digest) => {
    const op = ops.get(digest);
    if (op === undefined) throw invalid(`there is no vertex ${digest}, which is an input`);
    const inputs = op.inputs.map((input) => `${ids.get(input.digest)}:${input.index}`);
    return { id: ids.get(digest)!, op: shownOp(op), ...(inputs.length === 0 ? {} : { inputs }) };
  });
  return { steps, ids };
}

const invalid = (why: string, cause?: unknown) =>
  new TareError('InvalidArgument', `invalid definition in the provenance: ${why}`, { cause });

function decode(bytes: Uint8Array): Op {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (error) {
    throw invalid(`${digestOf(bytes)} is no operation`, error);
  }
}

/** Digests of what one needs and of itself, inputs first. A digest cannot name what is made of itself, so there is no cycle. */
function inOrder(ops: ReadonlyMap<string, Op>, wanted: string): string[] {
  const ordered = new Set<string>();
  const begun = new Set<string>();
  const waiting = [wanted];
  for (let digest = waiting.at(-1); digest !== undefined; digest = waiting.at(-1)) {
    if (!begun.has(digest)) {
      begun.add(digest);
      for (const input of ops.get(digest)?.inputs ?? []) if (!begun.has(input.digest)) waiting.push(input.digest);
      continue;
    }
    waiting.pop();
    ordered.add(digest);
  }
  return [...ordered];
}

/** Without inputs, which are told by step, and without what a client keeps to itself: both are taken out of the operation. */
function shownOp(shown: Op): object {
  shown.inputs = [];
  if (shown.op.case === 'source') {
    const source = shown.op.value;
    source.identifier = withoutPasswords(source.identifier);
    for (const key of fleeting) delete source.attrs[key];
  } else if (shown.op.case === 'exec') {
    delete shown.op.value.meta?.proxyEnv;
  }
  return { Op: {}, ...messageDocument(OpSchema, shown) };
}

/** Where steps come from in the files that the graph was made of. */
export function definitionSource({ Source: source }: Definition, ids: DefinitionSteps['ids']): object | undefined {
  if (source === undefined || source.infos.length === 0) return undefined;
  const infos = source.infos.map(({ filename, language, data, definition }) => {
    const made = definition === undefined ? undefined : definitionSteps(definition);
    return {
      filename,
      ...(language === '' ? {} : { language }),
      data: Buffer.from(data).toString('base64'),
      ...(made === undefined ? {} : { llbDefinition: made.steps, digestMapping: digestMapping(made.ids) }),
    };
  });
  const locations = Object.entries(source.locations).flatMap(([digest, message]) => {
    const id = ids.get(digest);
    return id === undefined ? [] : [[id, messageDocument(LocationsSchema, message)] as const];
  });
  return { locations: Object.fromEntries(locations.sort(([a], [b]) => number(a) - number(b))), infos };
}

const number = (id: string): number => Number(id.slice('step'.length));

export const digestMapping = (ids: DefinitionSteps['ids']): Record<string, string> =>
  Object.fromEntries([...ids].sort(([a], [b]) => (a < b ? -1 : 1)));

/** A message as Go's JSON writes it: names of the definition, nothing that is empty, choices one level deeper. */
function messageDocument<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): Record<string, unknown> {
  const reflected = reflect(schema, message);
  const document: Record<string, unknown> = {};
  for (const field of schema.fields) {
    if (!reflected.isSet(field)) continue;
    const value = shownValue(reflected.get(field));
    if (field.oneof === undefined) document[field.name] = value;
    else document[capitalized(field.oneof.name)] = { [field.name]: value };
  }
  return document;
}

const capitalized = (name: string): string => `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;

function shownValue(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (isReflectMessage(value)) return messageDocument(value.desc, value.message);
  if (isReflectList(value)) return [...value].map(shownValue);
  if (!isReflectMap(value)) return value;
  const entries = [...value].map(([key, one]) => [String(key), shownValue(one)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
