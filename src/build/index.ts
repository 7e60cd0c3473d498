export type * from './build-types.ts';
export type * from './builder-parts.ts';
export type * from './exporter.ts';
export type * from './frontend.ts';
export type * from './operation.ts';
export type * from './progress.ts';
export type * from './session.ts';
export type * from './tree.ts';
