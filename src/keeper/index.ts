export { runKeeper } from './keeper.ts';
