import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { TestEngine } from './engine.ts';
import { eventually } from './execute.ts';

/** Relays what arrives at a port of the namespace's loopback to a unix socket. */
const inside = `
const { connect, createServer } = require('node:net');
const [port, path] = process.argv.slice(1);
createServer({ allowHalfOpen: true }, (near) => {
  const far = connect({ path, allowHalfOpen: true });
  for (const side of [near, far]) side.on('error', () => { near.destroy(); far.destroy(); });
  near.pipe(far).pipe(near);
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
`;

/**
 * Shows a server on this machine's loopback to an engine, whose network namespace has a loopback of its own: at the same
 * port of that one.
 */
export async function tunnel(engine: Pick<TestEngine, 'root' | 'spawn'>, port: number): Promise<AsyncDisposable> {
  const path = join(engine.root, `tunnel-${port}.sock`);
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const close = () => {
      near.destroy();
      far.destroy();
    };
    near.on('error', close);
    far.on('error', close);
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const relay = engine.spawn([process.execPath, '-e', inside, String(port), path]);
  let said = '';
  relay.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await eventually('the relay listens', () => said.includes('listening'));
  return {
    [Symbol.asyncDispose]: async () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      relay.once('exit', () => resolve());
      relay.kill('SIGKILL');
      await promise;
      server.close();
    },
  };
}
