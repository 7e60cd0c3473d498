import type { Database, Transaction } from '../../../state/index.ts';
import type { Conflist } from './conflist.ts';

/**
 * A container's attachment, recorded before the first plugin runs, and until the last one has let go: with the list as it
 * was then, whatever has become of its file. It stands in the endpoint's record.
 */
export interface Attachment {
  list: Conflist;
  binDirs: string[];
  containerId: string;
  ifName: string;
  netns: string;
  /** CNI_ARGS. */
  args: string;
  /** What the runtime has to say, by capability. */
  runtimeConfig: Record<string, unknown>;
  /** What ADD came to; undefined until it has. */
  result?: Record<string, unknown>;
}

export function readAttachment(db: Database, endpointId: string): Attachment | undefined {
  const row = db.get<{ cni: string | null }>(
    "SELECT json_extract(doc, '$.cni') AS cni FROM endpoints WHERE id = ?",
    endpointId,
  );
  return row === undefined || row.cni === null ? undefined : (JSON.parse(row.cni) as Attachment);
}

export function recordAttachment(tx: Transaction, endpointId: string, attachment: Attachment): void {
  tx.run(
    "UPDATE endpoints SET doc = json_set(doc, '$.cni', json(?)) WHERE id = ?",
    JSON.stringify(attachment),
    endpointId,
  );
}

export function forgetAttachment(tx: Transaction, endpointId: string): void {
  tx.run("UPDATE endpoints SET doc = json_remove(doc, '$.cni') WHERE id = ?", endpointId);
}

/** The attachments of all endpoints. */
export function listAttachments(db: Database): Attachment[] {
  return db
    .all<{ cni: string }>(
      "SELECT json_extract(doc, '$.cni') AS cni FROM endpoints WHERE json_valid(doc) AND json_type(doc, '$.cni') = 'object'",
    )
    .map(({ cni }) => JSON.parse(cni) as Attachment);
}
