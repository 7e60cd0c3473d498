export { type ArchiveLimits, ByteBudget, defaultLimits } from './budget.ts';
export { type ExtractOptions, extractInto } from './extract-stream.ts';
export { archiveOf, type PackedLinks, packEntry, packFolder, writeTar } from './pack.ts';
export { cleanPath } from './path.ts';
