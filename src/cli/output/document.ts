import type { Context } from '../command.ts';
import type { Options } from '../option.ts';
import { writeFileSafely } from '../stream/output-file.ts';

/** Options of commands that tell of an image in a document. */
export const documentOptions = {
  output: { type: 'string', short: 'o', help: 'Write to a file, instead of STDOUT', completes: 'files' },
  platform: { type: 'string', help: 'Platform of a multi-platform image, "os[/arch[/variant]]"' },
} as const satisfies Options;

/** Prints a document, or writes the file that `--output` names. */
export async function writeDocument(context: Context, output: string | undefined, text: string): Promise<void> {
  if (output === undefined) context.out(text);
  else await writeFileSafely(output, bytesOf(text));
}

async function* bytesOf(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** What could not be read of an image, in words that name the file once. */
export const problemText = ({ path, message }: { path: string; message: string }): string =>
  message.startsWith(path) ? message : `${path}: ${message}`;
