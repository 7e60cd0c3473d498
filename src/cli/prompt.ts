import type { ReadStream } from 'node:tty';
import { TareError } from '../errors/index.ts';
import type { Context } from './command.ts';

const MAX_SECRET_BYTES = 64 * 1024;
const CONTROL_C = '\x03';
const CONTROL_D = '\x04';
const CONTROL_U = '\x15';
const BACKSPACES = ['\x7f', '\b'];

/** Asks for a line on the terminal. @throws {TareError} InvalidArgument: nobody is there to ask */
export async function askLine(context: Context, question: string): Promise<string> {
  const input = terminalInput();
  context.err(question);
  return (await typedLine(input)).trim();
}

/** The same with nothing of the answer shown. @throws {TareError} InvalidArgument: nobody to ask, or Ctrl-C */
export async function askSecret(context: Context, question: string): Promise<string> {
  const input = terminalInput();
  // Without echo before the question, so that nothing typed at once is shown.
  input.setRawMode(true);
  context.err(question);
  try {
    return await typedLine(input);
  } finally {
    input.setRawMode(false);
    context.err('\n');
  }
}

/** All of an input without the line end that a shell adds. @throws {TareError} InvalidArgument: over 64 KiB */
export async function readSecret(input: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of input) {
    size += chunk.length;
    if (size > MAX_SECRET_BYTES) throw new TareError('InvalidArgument', 'the password is longer than 64 KiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks)
    .toString()
    .replace(/\r?\n$/, '');
}

function terminalInput(): ReadStream {
  if (process.stdin.isTTY) return process.stdin as ReadStream;
  throw new TareError(
    'InvalidArgument',
    'cannot ask for credentials, because standard input is no terminal: give --username and --password-stdin',
  );
}

/** Keys up to the end of a line; what follows stays for the next question. In raw mode it is edited here. */
function typedLine(input: ReadStream): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const decoder = new TextDecoder();
  let typed: string[] = [];
  const finish = (rest: string) => {
    input.off('data', take);
    input.off('end', end);
    input.pause();
    if (rest !== '') input.unshift(Buffer.from(rest));
    resolve(typed.join(''));
  };
  const end = () => finish('');
  const take = (chunk: Buffer) => {
    const keys = [...decoder.decode(chunk, { stream: true })];
    for (const [index, key] of keys.entries()) {
      if (key === '\r' || key === '\n' || key === CONTROL_D) return finish(keys.slice(index + 1).join(''));
      if (key === CONTROL_C) return reject(new TareError('InvalidArgument', 'interrupted'));
      if (key === CONTROL_U) typed = [];
      else if (BACKSPACES.includes(key)) typed.pop();
      else if (typed.push(key) > MAX_SECRET_BYTES)
        return reject(new TareError('InvalidArgument', 'the answer is longer than 64 KiB'));
    }
  };
  input.on('data', take);
  input.once('end', end);
  // The question before this one has paused it.
  input.resume();
  return promise;
}
