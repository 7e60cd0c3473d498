export * from './content-store.ts';
export * from './descriptor.ts';
export * from './digest.ts';
export * from './layer-store.ts';
