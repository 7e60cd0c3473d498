import { TareError } from '../../errors/index.ts';
import { Demultiplexer } from './demultiplex.ts';
import { Output } from './output.ts';

/**
 * Copies a container's output to ours: as it is for a terminal, else frames taken apart to standard output and error.
 *
 * @param wanted which of the two to show
 * @throws {TareError} Unavailable: cut off; Internal: an error the engine put into the stream
 */
export async function copyOutput(
  body: AsyncIterable<Uint8Array>,
  tty: boolean,
  wanted: { stdout: boolean; stderr: boolean } = { stdout: true, stderr: true },
): Promise<void> {
  const stdout = new Output(1);
  const stderr = new Output(2);
  let problem = '';
  let slow: Promise<void> | undefined;
  const frames = new Demultiplexer((stream, bytes) => {
    if (stream === 'system') problem += Buffer.from(bytes).toString();
    else if (stream === 'stderr') {
      if (wanted.stderr) slow = stderr.write(bytes) ?? slow;
    } else if (wanted.stdout) slow = stdout.write(bytes) ?? slow;
  });
  for await (const chunk of body) {
    if (tty) slow = stdout.write(chunk);
    else frames.feed(chunk);
    if (slow) {
      await slow;
      slow = undefined;
    }
  }
  if (!tty) frames.finish();
  await stdout.flush();
  await stderr.flush();
  if (problem) throw new TareError('Internal', problem.trim());
}

/** Copies bytes to a descriptor. */
export async function copyTo(descriptor: number, body: AsyncIterable<Uint8Array>): Promise<void> {
  const output = new Output(descriptor);
  for await (const chunk of body) await output.write(chunk);
  await output.flush();
}
