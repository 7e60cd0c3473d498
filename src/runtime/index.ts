export * from './runtime.ts';
export * from './settings.ts';
