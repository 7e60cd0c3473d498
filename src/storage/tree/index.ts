export { BodyDecoder, bodyState } from './body-decoder.ts';
export { ByteBudget } from './budget.ts';
export { isChangedBeneath } from './changed-beneath.ts';
export { extractInto } from './extract-stream.ts';
export { archiveOf, packEntry, packedTypes, packFolder, packTree, writeTar } from './pack.ts';
export { receiveTree, type SocketSource } from './receive-tree.ts';
export { removeTree, removeTreeSync } from './remove.ts';
export { type SocketTarget, sendTree } from './send-tree.ts';
