export { type Listener, type Serving, serve } from './serve.ts';
