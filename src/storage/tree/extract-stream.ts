import { setImmediate } from 'node:timers/promises';
import { decompress } from '../compression.ts';
import { TarParser } from '../tar/index.ts';
import { ByteBudget } from './budget.ts';
import { type ExtractOptions, TreeExtractor } from './extract.ts';

/** How long writing may hold the event loop in one go. */
const SLICE_MS = 4;

/**
 * Unpacks a tar stream, compressed or not, into a tree. The stream is read to its end.
 *
 * @param rootFd everything happens inside this folder; stays the caller's
 * @throws {TareError} InvalidArgument: malformed or hostile, naming the entry; what came before it has been written
 */
export async function extractInto(
  rootFd: number,
  stream: AsyncIterable<Uint8Array>,
  options: ExtractOptions = {},
): Promise<void> {
  const { budget = new ByteBudget() } = options;
  using extractor = new TreeExtractor(rootFd, { ...options, budget });
  let storedBytes = 0;
  let inflatedBytes = 0;
  const counted = async function* () {
    for await (const chunk of stream) {
      storedBytes += chunk.length;
      yield chunk;
    }
  };
  const parser = new TarParser();
  let until = performance.now() + SLICE_MS;
  let isReading = true;
  const consume = async (): Promise<void> => {
    for (;;) {
      if (performance.now() > until) {
        await setImmediate();
        until = performance.now() + SLICE_MS;
      }
      switch (parser.next()) {
        case 'more':
          return;
        case 'entry':
          extractor.entry(parser.header);
          break;
        case 'data':
          extractor.data(parser.chunk, parser.offset);
          break;
        case 'entryEnd':
          extractor.endEntry();
          break;
        case 'finished':
          isReading = false;
          return;
      }
    }
  };
  await consume();
  for await (const chunk of decompress(counted())) {
    inflatedBytes += chunk.length;
    budget.inflated(storedBytes, inflatedBytes);
    if (!isReading) continue;
    parser.push(chunk);
    await consume();
  }
  if (isReading) {
    parser.end();
    await consume();
  }
  extractor.finish();
}
