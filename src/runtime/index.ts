export { readExit, watchExits } from './exits.ts';
export { openRuntime, type RuntimeOptions } from './open-runtime.ts';
export * from './runtime.ts';
export * from './settings.ts';
