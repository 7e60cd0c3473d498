export { type Listener, serve } from './serve.ts';
