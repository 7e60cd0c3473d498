import { digestOf, type LayerName } from '../../storage/index.ts';
import type { Tree } from '../tree.ts';

/** One of the keys that may stand at an input of another. */
export interface KeyLink {
  /** The part of the input that counts; empty: all of it. */
  readonly selector: string;
  readonly key: CacheKey;
}

/**
 * By what a result is known: what made it, and for each input the keys of what it was made of, any of which will do. A source has no
 * inputs, and neither has the key of a content.
 */
export class CacheKey {
  /** `sha256:` of `DIGEST@OUTPUT`. */
  readonly digest: string;
  readonly inputs: readonly (readonly KeyLink[])[];
  /** The names that sources of records have for it, once they were asked. */
  readonly ids = new Map<KeySource, readonly string[]>();

  constructor(digest: string, inputs: readonly (readonly KeyLink[])[]) {
    this.digest = digest;
    this.inputs = inputs;
  }
}

/** The key of one output of a vertex, by the digest of its cache map. */
export const outputDigest = (digest: string, output: number): string => digestOf(`${digest}@${output}`);

/** The key of a content, whatever made it. */
export const contentKey = (digest: string): CacheKey => new CacheKey(outputDigest(digest, -1), []);

/** A result that is there, or can be fetched. */
export interface FoundResult {
  readonly createdMs: number;
  /** Undefined: it lies elsewhere, and is loaded when it is needed. */
  readonly tree?: Tree;
}

/** Records of results by key. */
export interface KeySource {
  /** @returns the names that it has for a key, whose inputs it was asked for before; none: it does not know it */
  find(key: CacheKey): readonly string[];
  /**
   * The newest usable result of any of these; undefined: there is none any more.
   * @param present layers that the asker saw to be there, and keeps there; more are added
   */
  result(ids: readonly string[], present?: Set<LayerName>): FoundResult | undefined;
  /** What may stand at the inputs of a name and has none itself: sources, and contents that a build did not ask by. */
  roots(id: string): readonly RootLink[];
}

/** A key without inputs at an input of another. */
export interface RootLink {
  input: number;
  selector: string;
  digest: string;
}

/** The names of a key in a source, remembered. Inputs come first, without recursion: graphs may be deep. */
export function idsIn(source: KeySource, key: CacheKey): readonly string[] {
  const waiting = [key];
  for (;;) {
    const current = waiting.at(-1);
    if (current === undefined) return key.ids.get(source)!;
    const unknown = current.inputs.flat().filter((link) => !link.key.ids.has(source));
    if (unknown.length > 0) {
      waiting.push(...unknown.map((link) => link.key));
      continue;
    }
    waiting.pop();
    if (!current.ids.has(source)) current.ids.set(source, source.find(current));
  }
}
