export { diff, merge } from './combine.ts';
export * from './exec.ts';
export * from './file.ts';
export { outputOf } from './given.ts';
export { encodeRange, marshal } from './marshal.ts';
export * from './source.ts';
export { LaterOutput, type OperationPlatform, type Output, type SourceMap, type VertexNotes } from './vertex.ts';
