import type { ImportedResult } from '../imported-keys.ts';
import { type CacheKey, type FoundResult, idsIn, type KeySource } from '../key.ts';
import type { CarriedInput, CarriedRecord, CarriedResult } from './carried.ts';

/**
 * The records of what a build asked for and of all that led to it, inputs first: by definition and by content, so that who imports them
 * finds a step either way.
 *
 * @param keys of the build's results
 * @param sources our records, then those of imported caches: what this build took from there and did not load is carried on
 * @param isWanted which results are carried; a record without one only leads to others
 */
export function carriedRecords(
  keys: readonly CacheKey[],
  sources: readonly KeySource[],
  isWanted: (result: CarriedResult) => boolean,
): CarriedRecord<CarriedResult>[] {
  const graph = new CarriedGraph(sources, isWanted);
  for (const key of keys) graph.add(key);
  return graph.records;
}

class CarriedGraph {
  readonly records: CarriedRecord<CarriedResult>[] = [];
  readonly #sources: readonly KeySource[];
  readonly #isWanted: (result: CarriedResult) => boolean;
  readonly #positions = new Map<CacheKey, number>();
  /** Keys that are told by the same words are one. */
  readonly #known = new Map<string, number>();

  constructor(sources: readonly KeySource[], isWanted: (result: CarriedResult) => boolean) {
    this.#sources = sources;
    this.#isWanted = isWanted;
  }

  /** Without recursion: graphs may be deep. */
  add(wanted: CacheKey): void {
    const waiting = [wanted];
    for (let key = waiting.at(-1); key !== undefined; key = waiting.at(-1)) {
      const missing = key.inputs.flat().filter((link) => !this.#positions.has(link.key));
      if (missing.length > 0) {
        waiting.push(...missing.map((link) => link.key));
        continue;
      }
      waiting.pop();
      if (!this.#positions.has(key)) this.#positions.set(key, this.#place(key));
    }
  }

  #place(key: CacheKey): number {
    const inputs: CarriedInput[][] = key.inputs.map((links) =>
      links.map(({ selector, key: input }) => ({ record: this.#positions.get(input)!, selector })),
    );
    for (const source of this.#sources) {
      for (const { input, selector, digest } of idsIn(source, key).flatMap((id) => source.roots(id))) {
        // Keys of one session mean nothing to others.
        if (digest.startsWith('sha256:')) inputs[input]?.push({ record: this.#record(digest, [], []), selector });
      }
    }
    // A source's tree comes from where the source is.
    return this.#record(key.digest, inputs, inputs.length === 0 ? [] : this.#resultsOf(key));
  }

  #record(digest: string, inputs: readonly CarriedInput[][], results: readonly CarriedResult[]): number {
    const unique = inputs.map((links) => [
      ...new Map(links.map((link) => [`${link.record} ${link.selector}`, link])).values(),
    ]);
    const words = JSON.stringify([digest, unique]);
    const known = this.#known.get(words);
    if (known !== undefined) return known;
    this.#known.set(words, this.records.length);
    return this.records.push({ digest, inputs: unique, results }) - 1;
  }

  #resultsOf(key: CacheKey): CarriedResult[] {
    for (const source of this.#sources) {
      const found = source.result(idsIn(source, key));
      if (found === undefined) continue;
      const result = resultOf(found);
      return this.#isWanted(result) ? [result] : [];
    }
    return [];
  }
}

function resultOf(found: FoundResult): CarriedResult {
  const { tree, createdMs } = found;
  if (tree !== undefined) return { layers: tree.layers, createdMs };
  const { remote, cache } = found as ImportedResult;
  return { ...remote, cache };
}
