import { create } from '@bufbuild/protobuf';
import {
  DiffOpSchema,
  LowerDiffInputSchema,
  MergeInputSchema,
  MergeOpSchema,
  UpperDiffInputSchema,
} from '../../protocol/index.ts';
import { type OperationPlatform, type Output, present, type Vertex, type VertexNotes } from './vertex.ts';

/** Lays trees over each other, base first. Empty ones count for nothing. @returns undefined: all are empty */
export function merge(
  trees: readonly (Output | undefined)[],
  notes: VertexNotes = {},
  platform?: OperationPlatform,
): Output | undefined {
  const inputs = present(trees);
  if (inputs.length < 2) return inputs[0];
  const vertex: Vertex = {
    inputs,
    notes,
    capabilities: ['mergeop'],
    platform,
    encode: (table) => ({
      case: 'merge',
      value: create(MergeOpSchema, {
        inputs: inputs.map((input) => create(MergeInputSchema, { input: table.indexOf(input) })),
      }),
    }),
  };
  return { vertex, index: 0 };
}

/** What makes one tree of another: also what it lacks. @returns undefined: both are empty */
export function diff(
  lower: Output | undefined,
  upper: Output | undefined,
  notes: VertexNotes = {},
): Output | undefined {
  if (lower === undefined) return upper;
  const vertex: Vertex = {
    inputs: present([lower, upper]),
    notes,
    capabilities: ['diffop'],
    platform: undefined,
    encode: (table) => ({
      case: 'diff',
      value: create(DiffOpSchema, {
        lower: create(LowerDiffInputSchema, { input: table.indexOf(lower) }),
        upper: create(UpperDiffInputSchema, { input: table.indexOf(upper) }),
      }),
    }),
  };
  return { vertex, index: 0 };
}
