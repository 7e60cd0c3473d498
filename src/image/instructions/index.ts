export * from './expand-word.ts';
export * from './flags.ts';
export * from './healthcheck.ts';
export * from './json-form.ts';
export * from './ports.ts';
export * from './split-words.ts';
export * from './suggest.ts';
export * from './white-space.ts';
