import { finished } from 'node:stream/promises';
import type { RunningStep } from '../../../build/index.ts';

/** What a command says goes to this process's standard streams. */
export async function toOwnStreams({ stdout, stderr }: RunningStep): Promise<void> {
  const pass = async (from: NodeJS.ReadableStream, to: NodeJS.WritableStream): Promise<void> => {
    from.pipe(to, { end: false });
    await finished(from).catch(() => undefined);
  };
  await Promise.all([pass(stdout, process.stdout), ...(stderr === undefined ? [] : [pass(stderr, process.stderr)])]);
}
