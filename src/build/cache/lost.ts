import type { Database } from '../../state/index.ts';
import type { LayerName, LayerStore } from '../../storage/index.ts';

interface LostParts {
  db: Database;
  layers: Pick<LayerStore, 'missing'>;
}

/**
 * Forgets results and records whose layers are gone: power took them before they reached the disk, or a process died that was about
 * to change a client's folder.
 */
export async function forgetLost({ db, layers }: LostParts): Promise<void> {
  const recorded = db.all<{ layer: LayerName }>(
    'SELECT layer FROM build_result_layers UNION SELECT layer FROM build_records WHERE layer IS NOT NULL',
  );
  const lost = layers.missing(recorded.map(({ layer }) => layer));
  if (lost.length > 0) {
    await db.write((tx) => {
      for (const layer of lost) {
        tx.run(
          'DELETE FROM build_results WHERE id IN (SELECT result_id FROM build_result_layers WHERE layer = ?)',
          layer,
        );
        tx.run('DELETE FROM build_records WHERE layer = ?', layer);
      }
    });
  }
  await trimKeys({ db });
}

/** Forgets keys that lead to no result any more. */
export async function trimKeys({ db }: Pick<LostParts, 'db'>): Promise<void> {
  const dead = `SELECT child_id FROM build_links AS link
    WHERE NOT EXISTS (SELECT 1 FROM build_results WHERE key_id = link.child_id)
    AND NOT EXISTS (SELECT 1 FROM build_links AS next WHERE next.parent_id = link.child_id)`;
  while ((await db.write((tx) => tx.run(`DELETE FROM build_links WHERE child_id IN (${dead})`))) > 0);
}
