import type { Database, Transaction } from '../state/index.ts';
import type { Digest } from '../storage/index.ts';

/** A repository that was seen to have a blob. */
export interface BlobSource {
  domain: string;
  path: string;
}

/** Remembers that a repository has these blobs: a later push to the same registry need not send them. */
export function putBlobSources(tx: Transaction, source: BlobSource, digests: Iterable<Digest>): void {
  for (const digest of digests) {
    tx.run(
      'INSERT OR IGNORE INTO blob_sources (digest, domain, path) VALUES (?, ?, ?)',
      digest,
      source.domain,
      source.path,
    );
  }
}

/** Repositories of a registry that had a blob when we last saw them. */
export const blobSources = (db: Pick<Database, 'all'>, digest: Digest, domain: string): string[] =>
  db
    .all<{ path: string }>('SELECT path FROM blob_sources WHERE digest = ? AND domain = ? LIMIT 10', digest, domain)
    .map(({ path }) => path);

export function forgetBlobSources(tx: Transaction, digests: Iterable<Digest>): void {
  for (const digest of digests) tx.run('DELETE FROM blob_sources WHERE digest = ?', digest);
}
