import { TareError } from '../../errors/index.ts';

/** One line of docker's progress streams. */
export interface ProgressLine {
  id?: string;
  status?: string;
  stream?: string;
  progress?: string;
  progressDetail?: { current?: number; total?: number };
  error?: string;
  errorDetail?: { message?: string };
}

/** Longest line that is taken: a line is a message, not data. */
const MAX_LINE = 16 * 1024 * 1024;

/** Lines that are not empty, as they come. @throws {TareError} Unavailable: an endless line */
export async function* textLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let pending = '';
  for await (const chunk of body) {
    pending += decoder.decode(chunk, { stream: true });
    const lines = pending.split('\n');
    pending = lines.pop()!;
    if (pending.length > MAX_LINE) throw new TareError('Unavailable', 'the engine sent a line of over 16 MiB');
    for (const line of lines) if (line.trim() !== '') yield line.trim();
  }
  if (pending.trim() !== '') yield pending.trim();
}

/** JSON documents, one a line, as they come. @throws {TareError} Unavailable: not JSON, or an endless line */
export async function* jsonLines<T>(body: AsyncIterable<Uint8Array>): AsyncGenerator<T> {
  for await (const line of textLines(body)) yield decodeLine<T>(line);
}

/** @throws {TareError} Unavailable: not JSON */
export function decodeLine<T>(line: string): T {
  try {
    return JSON.parse(line) as T;
  } catch (error) {
    throw new TareError('Unavailable', `the engine sent ${JSON.stringify(line.slice(0, 80))} where JSON was expected`, {
      cause: error,
    });
  }
}

/** Passes each progress message on. @throws {TareError} Internal: the error that ended the stream */
export async function readProgress(body: AsyncIterable<Uint8Array>, take: (line: ProgressLine) => void): Promise<void> {
  for await (const line of jsonLines<ProgressLine>(body)) {
    const problem = line.errorDetail?.message ?? line.error;
    if (problem !== undefined) throw new TareError('Internal', problem);
    take(line);
  }
}
