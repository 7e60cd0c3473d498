export { ByteBudget } from './budget.ts';
export { extractInto } from './extract-stream.ts';
export { archiveOf, packEntry, packedTypes, packFolder, writeTar } from './pack.ts';
export { removeTree, removeTreeSync } from './remove.ts';
