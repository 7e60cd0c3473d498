export * from './ffi.ts';
