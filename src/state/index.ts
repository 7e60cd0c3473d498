export * from './database.ts';
export * from './event-log.ts';
export * from './locks.ts';
