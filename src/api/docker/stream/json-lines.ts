import { messageOf } from '../../../errors/index.ts';

const encoder = new TextEncoder();

/** JSON documents, one a line. An error ends the stream with docker's error line instead of breaking it. */
export async function* jsonLines(values: AsyncIterable<unknown>): AsyncGenerator<Uint8Array> {
  try {
    for await (const value of values) yield encoder.encode(`${JSON.stringify(value)}\r\n`);
  } catch (error) {
    const message = messageOf(error);
    yield encoder.encode(`${JSON.stringify({ errorDetail: { message }, error: message })}\r\n`);
  }
}
