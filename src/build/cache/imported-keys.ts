import { type CacheKey, type FoundResult, idsIn, type KeySource, type RootLink } from './key.ts';
import type { ImportedCache, RemoteResult } from './remote/carried.ts';

/** A result in a cache of another builder. */
export interface ImportedResult extends FoundResult {
  readonly remote: RemoteResult;
  readonly cache: ImportedCache;
}

/** The records of another builder's cache, by key. A record's name is its position. */
export class ImportedKeys implements KeySource {
  readonly #cache: ImportedCache;
  readonly #byDigest: Map<string, number[]>;

  constructor(cache: ImportedCache) {
    this.#cache = cache;
    this.#byDigest = new Map();
    for (const [position, { digest }] of cache.records.entries()) {
      const same = this.#byDigest.get(digest);
      if (same === undefined) this.#byDigest.set(digest, [position]);
      else same.push(position);
    }
  }

  find(key: CacheKey): readonly string[] {
    const candidates = this.#byDigest.get(key.digest) ?? [];
    if (candidates.length === 0) return [];
    // A foreign document may have very many of one digest: what they are compared with is looked up once.
    const inputs = key.inputs.map((links) =>
      links.map(({ selector, key: input }) => ({ selector, ids: new Set(idsIn(this, input)) })),
    );
    return candidates.filter((position) => this.#isMet(inputs, position)).map(String);
  }

  result(ids: readonly string[]): ImportedResult | undefined {
    const results = ids.flatMap((id) => this.#cache.records[Number(id)]?.results ?? []);
    const newest = results.sort((a, b) => b.createdMs - a.createdMs)[0];
    return newest && { createdMs: newest.createdMs, remote: newest, cache: this.#cache };
  }

  roots(id: string): readonly RootLink[] {
    const { records } = this.#cache;
    return (records[Number(id)]?.inputs ?? []).flatMap((links, input) =>
      links.flatMap(({ record, selector }) => {
        const { digest, inputs } = records[record]!;
        return inputs.length === 0 ? [{ input, selector, digest }] : [];
      }),
    );
  }

  #isMet(given: readonly (readonly KnownInput[])[], position: number): boolean {
    const { inputs } = this.#cache.records[position]!;
    return (
      inputs.length === given.length &&
      inputs.every((wanted, input) =>
        wanted.some(({ record, selector }) =>
          given[input]!.some((known) => known.selector === selector && known.ids.has(String(record))),
        ),
      )
    );
  }
}

/** What stands at an input, by the names that a cache has for it. */
interface KnownInput {
  selector: string;
  ids: ReadonlySet<string>;
}
