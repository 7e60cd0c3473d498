import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import { type Definition, type Op, OpSchema } from '../../protocol/index.ts';

/** A part of a build's graph, with the line that it was made from. */
export interface LocatedVertex {
  op: Op;
  /** Digests of the vertices that it needs. */
  inputs: readonly string[];
  /** In the file that says what to build; undefined: made from no line of it. */
  line: number | undefined;
  name: string;
}

/** By digest, inputs first. */
export type LocatedGraph = ReadonlyMap<string, LocatedVertex>;

/** Reads what a frontend made. It may be of somebody else: whatever it lacks is left out. */
export function locateGraph({ def, metadata, Source: source }: Definition): LocatedGraph {
  const vertices = new Map<string, LocatedVertex>();
  for (const bytes of def) {
    const op = fromBinary(OpSchema, bytes);
    if (op.op.case === undefined) continue;
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const place = source?.locations[digest]?.locations.find(({ sourceIndex }) => sourceIndex === 0);
    vertices.set(digest, {
      op,
      inputs: op.inputs.map((input) => input.digest),
      line: place?.ranges[0]?.start?.line,
      name: metadata[digest]?.description['llb.customname'] ?? '',
    });
  }
  return vertices;
}
