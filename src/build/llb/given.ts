import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { type Definition, type Op, OpSchema, type Source } from '../../protocol/index.ts';
import type { LineRange } from '../progress.ts';
import type { Output, SourceMap, Vertex, VertexNotes } from './vertex.ts';

const broken = (message: string) =>
  new TareError('InvalidArgument', `a build's input is no valid definition: ${message}`);

/**
 * The output of a definition that came from elsewhere, as a part for a new graph. Its operations keep their bytes, and so their digests.
 *
 * @returns undefined: it is the empty tree
 * @throws {TareError} InvalidArgument: bytes that are no operation, an input that no operation has
 */
export function outputOf(definition: Definition): Output | undefined {
  const head = definition.def.at(-1);
  if (head === undefined) return undefined;
  const vertices = new Map<string, Vertex>();
  const locations = locationsOf(definition.Source);
  const resolve = (op: Op): Output[] =>
    op.inputs.map(({ digest, index }) => {
      const vertex = vertices.get(digest);
      if (vertex === undefined) throw broken(`no operation before it has the digest ${JSON.stringify(digest)}`);
      return { vertex, index: Number(index) };
    });
  for (const bytes of definition.def.slice(0, -1)) {
    const op = decode(bytes);
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const location = locations.get(digest);
    const notes: VertexNotes = location === undefined ? {} : { location };
    vertices.set(digest, {
      inputs: resolve(op),
      notes,
      capabilities: [],
      platform: undefined,
      encode: () => op.op,
      given: { digest, bytes, metadata: definition.metadata[digest] },
    });
  }
  return resolve(decode(head))[0];
}

function decode(bytes: Uint8Array): Op {
  try {
    return fromBinary(OpSchema, bytes);
  } catch (error) {
    throw new TareError('InvalidArgument', broken('an operation cannot be decoded').message, { cause: error });
  }
}

function locationsOf(source: Source | undefined): Map<string, { source: SourceMap; ranges: readonly LineRange[] }> {
  const found = new Map<string, { source: SourceMap; ranges: readonly LineRange[] }>();
  if (source === undefined) return found;
  const maps = source.infos.map((info): SourceMap => ({ info }));
  for (const [digest, { locations }] of Object.entries(source.locations)) {
    const location = locations[0];
    const map = maps[location?.sourceIndex ?? -1];
    if (location === undefined || map === undefined) continue;
    const ranges = location.ranges.flatMap(({ start, end }) =>
      start === undefined || end === undefined
        ? []
        : [
            {
              start: { line: start.line, character: start.character },
              end: { line: end.line, character: end.character },
            },
          ],
    );
    found.set(digest, { source: map, ranges });
  }
  return found;
}
