import { createInterface } from 'node:readline';
import type { ReadStream } from 'node:tty';
import { TareError } from '../errors/index.ts';
import type { Context } from './command.ts';

const MAX_SECRET_BYTES = 64 * 1024;
const CONTROL_C = '\x03';
const CONTROL_D = '\x04';
const CONTROL_U = '\x15';

/** Asks for a line on the terminal. @throws {TareError} InvalidArgument: nobody is there to ask */
export async function askLine(context: Context, question: string): Promise<string> {
  refuseWithoutTerminal();
  context.err(question);
  const lines = createInterface({ input: process.stdin });
  try {
    for await (const line of lines) return line.trim();
    return '';
  } finally {
    lines.close();
  }
}

/** The same with nothing of the answer shown. @throws {TareError} InvalidArgument: nobody to ask, or Ctrl-C */
export async function askSecret(context: Context, question: string): Promise<string> {
  refuseWithoutTerminal();
  const input = process.stdin as ReadStream;
  // Without echo before the question, so that nothing typed at once is shown.
  input.setRawMode(true);
  context.err(question);
  try {
    let typed: string[] = [];
    for await (const chunk of input.iterator({ destroyOnReturn: false })) {
      for (const key of String(chunk)) {
        if (key === '\r' || key === '\n' || key === CONTROL_D) return typed.join('');
        if (key === CONTROL_C) throw new TareError('InvalidArgument', 'interrupted');
        if (key === '\x7f' || key === '\b') typed.pop();
        else if (key === CONTROL_U) typed = [];
        else if (typed.push(key) > MAX_SECRET_BYTES) throw new TareError('InvalidArgument', 'the password is too long');
      }
    }
    return typed.join('');
  } finally {
    input.setRawMode(false);
    input.pause();
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

function refuseWithoutTerminal(): void {
  if (!process.stdin.isTTY)
    throw new TareError(
      'InvalidArgument',
      'cannot ask for credentials, because standard input is no terminal: give --username and --password-stdin',
    );
}
