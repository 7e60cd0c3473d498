export * from './ffi.ts';
export * from './flock.ts';
