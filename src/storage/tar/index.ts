export * from './encoder.ts';
export { BLOCK, type TarEntryType, type TarHeader } from './header.ts';
export * from './parser.ts';
export * from './stream.ts';
