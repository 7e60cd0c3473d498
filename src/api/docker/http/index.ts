export type { Listener } from './listen.ts';
export { type Serving, serve } from './serve.ts';
export { readTls, type TlsFiles, type TlsOptions } from './tls.ts';
