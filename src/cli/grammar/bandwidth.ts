import { splitFields, splitPair } from './fields.ts';
import { UsageError } from './usage-error.ts';

/**
 * `--network-bandwidth in=10mbit,out=5mbit`; the rates are the engine's to read, '' where none is given.
 *
 * @throws {UsageError}
 */
export function parseBandwidth(texts: readonly string[]): { In: string; Out: string } {
  const bandwidth = { In: '', Out: '' };
  for (const field of texts.flatMap(splitFields)) {
    const [key, value = ''] = splitPair(field);
    if (value === '' || (key !== 'in' && key !== 'out'))
      throw new UsageError(
        `invalid argument ${JSON.stringify(field)} for --network-bandwidth: in=RATE or out=RATE, such as in=10mbit,out=5mbit`,
      );
    bandwidth[key === 'in' ? 'In' : 'Out'] = value;
  }
  return bandwidth;
}
