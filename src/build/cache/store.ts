import { randomUUID } from 'node:crypto';
import type { Database, Transaction } from '../../state/index.ts';
import type { LayerName } from '../../storage/index.ts';
import type { Tree } from '../tree.ts';
import { type CacheKey, type FoundResult, idsIn, type KeyLink, type KeySource, type RootLink } from './key.ts';

/** What is recorded of the layers of a result that its vertex made itself. */
export interface MadeBy {
  type: string;
  description: string;
  /** Layers of its inputs: they are others'. */
  inherited: ReadonlySet<LayerName>;
  /** When another builder made it; undefined: it is new. */
  createdMs?: number;
  /** Of layers that another builder made. */
  facts?: ReadonlyMap<LayerName, { createdMs?: number | undefined; description?: string | undefined }>;
}

/** What of the layer store the cache needs. */
export interface CacheLayers {
  missing(layers: readonly LayerName[]): readonly LayerName[];
  /** Bytes that its files occupy. */
  sizeOf(layer: LayerName): Promise<number>;
}

interface ResultRow {
  id: number;
  layers: string;
  created_ms: number;
}

/** The records of this builder's results, in the database: all processes on one root share them. */
export class CacheStore implements KeySource {
  readonly #db: Database;
  readonly #layers: CacheLayers;
  readonly #now: () => number;
  /** Keys whose links this process has written or seen: no need to write them again. */
  readonly #linked = new WeakSet<CacheKey>();

  constructor({ db, layers, now }: { db: Database; layers: CacheLayers; now(): number }) {
    this.#db = db;
    this.#layers = layers;
    this.#now = now;
  }

  find(key: CacheKey): readonly string[] {
    return findIDs(this.#db, key, (input) => idsIn(this, input));
  }

  result(ids: readonly string[], present = new Set<LayerName>()): FoundResult | undefined {
    const rows = ids.flatMap((id) =>
      this.#db.all<ResultRow>('SELECT id, layers, created_ms FROM build_results WHERE key_id = ?', id),
    );
    for (const row of rows.sort((a, b) => b.created_ms - a.created_ms || b.id - a.id)) {
      const layers = JSON.parse(row.layers) as LayerName[];
      // Power took a layer, or somebody removed it: the record is of no use, and goes with the next pruning.
      const unseen = layers.filter((layer) => !present.has(layer));
      if (this.#layers.missing(unseen).length > 0) continue;
      for (const layer of unseen) present.add(layer);
      return { tree: { layers }, createdMs: row.created_ms };
    }
    return undefined;
  }

  /** Makes a key known by other inputs too: a content was found that another key leads to as well. */
  async link(key: CacheKey): Promise<void> {
    if (this.#linked.has(key)) return;
    await this.#write((tx, linked) => void this.#writeKey(tx, key, linked));
  }

  /** Records a result under a key, with what its layers are, in one transaction. */
  async save(key: CacheKey, tree: Tree, made: MadeBy): Promise<void> {
    const sizes = new Map(
      await Promise.all(tree.layers.map(async (layer) => [layer, await this.#layers.sizeOf(layer)] as const)),
    );
    await this.#write((tx, linked) => {
      const now = this.#now();
      const text = JSON.stringify(tree.layers);
      for (const id of this.#writeKey(tx, key, linked)) {
        const columns = '(key_id, layers, created_ms) VALUES (?, ?, ?)';
        tx.run(`INSERT OR REPLACE INTO build_results ${columns}`, id, text, made.createdMs ?? now);
        const row = tx.get<{ id: number }>(
          'SELECT id FROM build_results WHERE key_id = ? AND layers = ?',
          ...[id, text],
        )!;
        for (const layer of tree.layers)
          tx.run('INSERT OR IGNORE INTO build_result_layers VALUES (?, ?)', layer, row.id);
      }
      tree.layers.forEach((layer, position) => {
        const isOwn = !made.inherited.has(layer);
        const facts = made.facts?.get(layer);
        const description = isOwn ? made.description : '';
        const below = tree.layers[position - 1];
        const parent =
          below && tx.get<{ id: string }>('SELECT id FROM build_records WHERE layer = ?', below as string)?.id;
        tx.run(
          'INSERT OR IGNORE INTO build_records VALUES (?, ?, NULL, ?, ?, ?, ?, ?, NULL, 0)',
          ...[randomUUID().replaceAll('-', '').slice(0, 25), layer, isOwn ? made.type : 'regular'],
          ...[facts?.description ?? description, JSON.stringify(parent ? [parent] : []), sizes.get(layer) ?? 0],
          facts?.createdMs ?? now,
        );
      });
    });
  }

  /** Notes that a build used these layers. */
  async touch(layers: Iterable<LayerName>): Promise<void> {
    const used = [...layers];
    if (used.length === 0) return;
    const sql = 'UPDATE build_records SET last_used_ms = ?, usage_count = usage_count + 1 WHERE layer = ?';
    await this.#db.write((tx) => {
      for (const layer of used) tx.run(sql, this.#now(), layer);
    });
  }

  /** When a layer was made, and by which step; undefined: no build made it. */
  facts(layer: LayerName): { createdMs: number; description: string } | undefined {
    const sql = 'SELECT created_ms, description FROM build_records WHERE layer = ?';
    const row = this.#db.get<{ created_ms: number; description: string }>(sql, layer);
    return row && { createdMs: row.created_ms, description: row.description };
  }

  roots(id: string): readonly RootLink[] {
    // The name of a key without inputs is its digest.
    const sql =
      "SELECT input, selector, parent_id AS digest FROM build_links WHERE child_id = ? AND parent_id LIKE '%:%'";
    return this.#db.all<{ input: number; selector: string; digest: string }>(sql, id);
  }

  /** @param body tells of the keys whose links it writes */
  async #write(body: (tx: Transaction, linked: Set<CacheKey>) => void): Promise<void> {
    const linked = await this.#db.write((tx) => {
      const written = new Set<CacheKey>();
      body(tx, written);
      return written;
    });
    // Only now: what is rolled back is to be written by the next one.
    for (const key of linked) this.#linked.add(key);
  }

  /** @returns the key's ids: those that its inputs lead to already, or a new one */
  #writeKey(tx: Transaction, key: CacheKey, linked: Set<CacheKey>): readonly string[] {
    const isLinked = (one: CacheKey) => this.#linked.has(one) || linked.has(one);
    const waiting = [key];
    for (;;) {
      const current = waiting.at(-1);
      if (current === undefined) return key.ids.get(this)!;
      const unlinked = current.inputs.flat().filter((link) => !isLinked(link.key));
      if (unlinked.length > 0) {
        waiting.push(...unlinked.map((link) => link.key));
        continue;
      }
      waiting.pop();
      if (isLinked(current)) continue;
      current.ids.set(this, this.#writeLinks(tx, current));
      linked.add(current);
    }
  }

  #writeLinks(tx: Transaction, key: CacheKey): readonly string[] {
    const known = new Set([...findIDs(tx, key, (input) => input.ids.get(this) ?? []), ...(key.ids.get(this) ?? [])]);
    const ids = known.size > 0 ? [...known] : [key.inputs.length === 0 ? key.digest : randomUUID()];
    key.inputs.forEach((links, input) => {
      for (const { selector, key: parent } of links) {
        for (const parentID of parent.ids.get(this) ?? []) {
          for (const id of ids) {
            tx.run(
              'INSERT OR IGNORE INTO build_links VALUES (?, ?, ?, ?, ?)',
              parentID,
              input,
              key.digest,
              selector,
              id,
            );
          }
        }
      }
    });
    return ids;
  }
}

/** Names that all inputs of a key lead to. */
function findIDs(
  db: Pick<Database, 'all'>,
  key: CacheKey,
  idsOf: (input: CacheKey) => readonly string[],
): readonly string[] {
  if (key.inputs.length === 0) return [key.digest];
  let common: Set<string> | undefined;
  for (const [input, links] of key.inputs.entries()) {
    const children = new Set(links.flatMap((link) => childrenOf(db, key.digest, input, link, idsOf(link.key))));
    common = common === undefined ? children : common.intersection(children);
    if (common.size === 0) return [];
  }
  return [...common!];
}

const childrenOf = (
  db: Pick<Database, 'all'>,
  digest: string,
  input: number,
  { selector }: KeyLink,
  parents: readonly string[],
): string[] =>
  parents.flatMap((parent) =>
    db
      .all<{ child_id: string }>(
        'SELECT child_id FROM build_links WHERE parent_id = ? AND input = ? AND digest = ? AND selector = ?',
        ...[parent, input, digest, selector],
      )
      .map((row) => row.child_id),
  );
