import type { Database, Transaction } from '../state/index.ts';

type Reader = Pick<Database, 'all' | 'get'>;

/** Notes that an image was used: a container was made of it. */
export function noteUse(tx: Transaction, imageID: string, nowMs: number): void {
  tx.run(
    `INSERT INTO image_uses (image_id, used_ms) VALUES (?, ?)
     ON CONFLICT (image_id) DO UPDATE SET used_ms = max(used_ms, excluded.used_ms)`,
    imageID,
    Math.floor(nowMs),
  );
}

/** Notes of which image a new one was made. */
export function noteParent(tx: Transaction, imageID: string, parentID: string, nowMs: number): void {
  tx.run(
    `INSERT INTO image_uses (image_id, parent_id, used_ms) VALUES (?, ?, ?)
     ON CONFLICT (image_id) DO UPDATE SET parent_id = excluded.parent_id`,
    imageID,
    parentID,
    Math.floor(nowMs),
  );
}

/** The image that another was made of, while it is here. */
export const parentOf = (db: Reader, imageID: string): string | undefined =>
  db.get<{ parent_id: string }>(
    'SELECT parent_id FROM image_uses JOIN images ON images.id = parent_id WHERE image_id = ?',
    imageID,
  )?.parent_id;

/** When each image was last used, in milliseconds since the epoch. Those that never were are not in it. */
export const lastUses = (db: Reader): Map<string, number> =>
  new Map(
    db
      .all<{ image_id: string; used_ms: number }>('SELECT image_id, used_ms FROM image_uses')
      .map(({ image_id, used_ms }) => [image_id, used_ms]),
  );

export function forgetUse(tx: Transaction, imageID: string): void {
  tx.run('DELETE FROM image_uses WHERE image_id = ?', imageID);
}
