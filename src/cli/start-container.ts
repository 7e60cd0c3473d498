import { messageOf, TareError } from '../errors/index.ts';
import { followSize, proxySignals, pump, type SessionOptions } from './session.ts';
import { type Client, textOf } from './transport/client.ts';

export interface ForegroundOptions extends SessionOptions {
  sigProxy: boolean;
  /** The engine removes the container when it ends. */
  autoRemove: boolean;
  /** The checkpoint to take it up from. */
  from?: { checkpoint?: string; 'checkpoint-dir'?: string };
}

/**
 * Attaches, starts, and stays until the container ends.
 *
 * @returns the container's exit code
 * @throws {Detached}
 * @throws {StartFailed} it did not start
 */
export async function startInForeground(client: Client, id: string, options: ForegroundOptions): Promise<number> {
  using signals = new DisposableStack();
  // A terminal delivers the keys themselves, signals would come twice.
  if (options.sigProxy && !options.tty) signals.use(proxySignals(client, id));
  const connection = await client.upgrade(`/containers/${id}/attach`, {
    query: {
      stream: true,
      stdin: options.stdin,
      stdout: options.stdout,
      stderr: options.stderr,
      detachKeys: options.detachKeys,
    },
  });
  const output = pump(connection, options);
  output.catch(() => {});
  try {
    // Asked before the start, so that even the shortest life is seen; the answer's head says that the engine is watching.
    const ending = await client.stream('POST', `/containers/${id}/wait`, {
      query: { condition: options.autoRemove ? 'removed' : 'next-exit' },
    });
    try {
      await client.json('POST', `/containers/${id}/start`, {
        query: { detachKeys: options.detachKeys, ...options.from },
      });
    } catch (error) {
      throw new StartFailed(error);
    }
    if (options.tty && process.stdout.isTTY) signals.use(followSize(client, 'containers', id));
    await output;
    const { StatusCode, Error: problem } = JSON.parse(await textOf(ending.body)) as {
      StatusCode: number;
      Error?: { Message: string };
    };
    if (problem?.Message) throw new TareError('Internal', problem.Message);
    return StatusCode;
  } catch (error) {
    connection.destroy();
    throw error;
  }
}

/** The container was made but not started. */
class StartFailed extends TareError {
  constructor(cause: unknown) {
    super('Internal', messageOf(cause), { cause });
  }
}

/**
 * docker's exit code for a container that could not be run: 127 its program is not there, 126 it cannot be executed, 125 anything
 * else. The API has nothing but the text to tell them apart, and docker's own client reads it the same way.
 */
export function runFailure(error: unknown): number {
  const message = messageOf(error);
  if (/executable file not found|no such file or directory/.test(message)) return 127;
  if (/permission denied|is a directory|exec format error/.test(message)) return 126;
  return 125;
}
