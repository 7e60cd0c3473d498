import type { Database } from '../../state/index.ts';
import type { Descriptor, DiffID, Digest, LayerName } from '../../storage/index.ts';

/** A blob that a layer of the cache can be had from, and that the next collection spares as long as the cache keeps the layer. */
export interface LayerBlob {
  /** Of the tar in it: another than the layer's where times were rewritten. */
  diffID: DiffID;
  descriptor: Descriptor;
}

/** Of a blob that came as it is: a base image's, another cache's. */
export const FOREIGN_FORM = '';

/** Remembers a stored blob of a layer. @param form how it was packed, so that it is found again when the same is wanted */
export async function recordBlob(
  { db }: { db: Database },
  layer: LayerName,
  form: string,
  { diffID, descriptor }: LayerBlob,
): Promise<void> {
  const { digest, mediaType, size } = descriptor;
  await db.write(
    (tx) =>
      void tx.run(
        'INSERT OR REPLACE INTO build_blobs VALUES (?, ?, ?, ?, ?, ?)',
        ...[layer as string, form, diffID as string, digest as string, mediaType, size],
      ),
  );
}

/** The blob of a layer in this form; it may have gone meanwhile. */
export function findBlob({ db }: { db: Database }, layer: LayerName, form: string): LayerBlob | undefined {
  const row = db.get<{ diff_id: DiffID; digest: Digest; media_type: string; size_bytes: number }>(
    'SELECT diff_id, digest, media_type, size_bytes FROM build_blobs WHERE layer = ? AND form = ?',
    ...[layer as string, form],
  );
  if (row === undefined) return undefined;
  const { diff_id: diffID, digest, media_type: mediaType, size_bytes: size } = row;
  return { diffID, descriptor: { mediaType, digest, size } };
}
