export * from './database.ts';
export * from './locks.ts';
