import { TareError } from '../../errors/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Operation } from '../operation.ts';
import type { Vertex } from '../solver/graph.ts';
import { buildOperation, type OuterBuild } from './build.ts';
import { diffOperation } from './diff.ts';
import { execOperation } from './exec.ts';
import { fileOperation } from './file.ts';
import { mergeOperation } from './merge.ts';
import { sourceOperation } from './source.ts';

/**
 * What a vertex does.
 * @throws {TareError} InvalidArgument, Unsupported: its definition is of no use here
 */
export function operationFor(parts: BuilderParts, vertex: Vertex, outer: OuterBuild): Operation {
  const { op } = vertex.op;
  switch (op.case) {
    case 'source':
      return sourceOperation(parts, op.value, { digest: vertex.digest, ...platformOf(vertex) });
    case 'build':
      return buildOperation(outer, op.value, vertex);
    case 'exec':
      return execOperation(parts, op.value, vertex);
    case 'file':
      return fileOperation(parts, op.value, vertex);
    case 'merge':
      return mergeOperation(parts, op.value, vertex);
    case 'diff':
      return diffOperation(parts, op.value, vertex);
    default:
      throw new TareError('Unsupported', `vertex ${vertex.digest} has an operation that this builder does not know`);
  }
}

function platformOf({ platform }: Vertex) {
  if (platform === undefined || platform.OS === '') return {};
  const { OS: os, Architecture: architecture, Variant: variant, OSVersion: version } = platform;
  return {
    platform: { os, architecture, ...(variant ? { variant } : {}), ...(version ? { 'os.version': version } : {}) },
  };
}
