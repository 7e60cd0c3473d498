import type { Database, Transaction } from '../../state/index.ts';
import type { EgressPolicy } from './policy.ts';

/** Whose policy it is: a container's, or that of all containers on a network. */
export interface EgressSubject {
  kind: 'container' | 'network';
  id: string;
}

export interface StoredPolicy {
  subject: EgressSubject;
  policy: EgressPolicy;
}

/** An address that a name was answered with for somebody who is under a policy. */
export interface FollowedName {
  name: string;
  address: string;
  /** When the kernel forgets it. */
  expiresMs: number;
}

/** What somebody under a policy tried, summed up. */
export interface EgressAttempt {
  /** Let through and recorded (learn), or not. */
  isDenied: boolean;
  /** The container that tried. */
  containerId: string;
  /** An address, or for `dns` a name. */
  destination: string;
  /** tcp, udp, sctp, icmp, `dns` for a name that was asked for, or a protocol's number. */
  protocol: string;
  /** 0 where there is none. */
  port: number;
  /** Packets, or questions. */
  count: number;
  firstMs: number;
  lastMs: number;
}

/** Of one subject; the oldest give way. */
export const MAX_ATTEMPTS = 2_000;
export const MAX_NAMES = 4_096;
/** A name's addresses are remembered for so long after they have expired, for connections that are still open. */
const REMEMBERED_MS = 7 * 24 * 3_600_000;

interface PolicyRow {
  subject: string;
  kind: EgressSubject['kind'];
  doc: string;
}

const stored = ({ subject, kind, doc }: PolicyRow): StoredPolicy => ({
  subject: { kind, id: subject },
  policy: JSON.parse(doc) as EgressPolicy,
});

export const listPolicies = (db: Database): StoredPolicy[] =>
  db.all<PolicyRow>('SELECT subject, kind, doc FROM egress_policies ORDER BY subject').map(stored);

export function findPolicy(db: Pick<Database, 'get'>, id: string): StoredPolicy | undefined {
  const row = db.get<PolicyRow>('SELECT subject, kind, doc FROM egress_policies WHERE subject = ?', id);
  return row === undefined ? undefined : stored(row);
}

export function putPolicy(tx: Transaction, { subject, policy }: StoredPolicy): void {
  tx.run(
    'INSERT INTO egress_policies (subject, kind, doc) VALUES (?, ?, ?) ON CONFLICT (subject) DO UPDATE SET doc = excluded.doc',
    subject.id,
    subject.kind,
    JSON.stringify(policy),
  );
}

/** With everything that was recorded under it. */
export function deletePolicy(tx: Transaction, id: string): void {
  for (const table of ['egress_policies', 'egress_names', 'egress_attempts']) {
    tx.run(`DELETE FROM ${table} WHERE subject = ?`, id);
  }
}

export function listNames(db: Database, id: string): FollowedName[] {
  return db.all<FollowedName & Record<string, never>>(
    'SELECT name, address, expires_ms AS expiresMs FROM egress_names WHERE subject = ? ORDER BY name, address',
    id,
  );
}

/** @returns whether there was room for all of them; if not, many of those that would go first anyway are forgotten */
export function putNames(tx: Transaction, id: string, names: readonly FollowedName[], nowMs: number): boolean {
  tx.run('DELETE FROM egress_names WHERE subject = ? AND expires_ms < ?', id, nowMs - REMEMBERED_MS);
  for (const { name, address, expiresMs } of names) {
    tx.run(
      `INSERT INTO egress_names (subject, name, address, expires_ms) VALUES (?, ?, ?, ?)
       ON CONFLICT (subject, name, address) DO UPDATE SET expires_ms = max(expires_ms, excluded.expires_ms)`,
      ...[id, name, address, expiresMs],
    );
  }
  const { count } = tx.get<{ count: number }>('SELECT count(*) AS count FROM egress_names WHERE subject = ?', id) ?? {
    count: 0,
  };
  if (count <= MAX_NAMES) return true;
  // Many at once: the rules must be written anew after it.
  tx.run(
    `DELETE FROM egress_names WHERE subject = ?1 AND (name, address) IN
     (SELECT name, address FROM egress_names WHERE subject = ?1 ORDER BY expires_ms LIMIT ?2)`,
    id,
    count - (MAX_NAMES * 3) / 4,
  );
  return false;
}

/** Forgets names that no rule means any more. */
export function dropNames(tx: Transaction, id: string, names: readonly string[]): void {
  for (const name of names) tx.run('DELETE FROM egress_names WHERE subject = ? AND name = ?', id, name);
}

interface AttemptRow extends Omit<EgressAttempt, 'isDenied'> {
  isDenied: number;
}

/** The latest first. */
export function listAttempts(db: Database, id: string): EgressAttempt[] {
  return db
    .all<AttemptRow>(
      `SELECT is_denied AS isDenied, container_id AS containerId, destination, protocol, port, count,
       first_ms AS firstMs, last_ms AS lastMs FROM egress_attempts WHERE subject = ? ORDER BY last_ms DESC, destination, port`,
      id,
    )
    .map((row) => ({ ...row, isDenied: row.isDenied === 1 }));
}

/** What is seen of an attempt: a count that its keeper adds up (the kernel), or so many more. */
export interface SeenAttempt extends Omit<EgressAttempt, 'count' | 'firstMs'> {
  /** So many since its keeper began to count. */
  total?: number;
  /** So many more. */
  more?: number;
}

/**
 * Adds what was seen. Repeating with the same totals adds nothing; a total that has become smaller was begun anew.
 * @returns whether anything was new
 */
export function addAttempts(tx: Transaction, id: string, seen: readonly SeenAttempt[]): boolean {
  // Recorded by a process that looked before the policy was taken away.
  if (findPolicy(tx, id) === undefined) return false;
  for (const { isDenied, containerId, destination, protocol, port, lastMs, total, more = 0 } of seen) {
    const key = [id, isDenied ? 1 : 0, containerId, destination, protocol, port] as const;
    const where =
      'subject = ? AND is_denied = ? AND container_id = ? AND destination = ? AND protocol = ? AND port = ?';
    const known = tx.get<{ count: number; total: number }>(
      `SELECT count, total FROM egress_attempts WHERE ${where}`,
      ...key,
    );
    const before = known?.total ?? 0;
    const added = total === undefined ? more : total >= before ? total - before : total;
    if (known === undefined) {
      tx.run(
        `INSERT INTO egress_attempts (subject, is_denied, container_id, destination, protocol, port, count, total, first_ms, last_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[...key, added, total ?? 0, lastMs, lastMs],
      );
    } else if (added > 0) {
      tx.run(
        `UPDATE egress_attempts SET count = count + ?, total = ?, last_ms = max(last_ms, ?) WHERE ${where}`,
        ...[added, total ?? 0, lastMs, ...key],
      );
    }
  }
  tx.run(
    `DELETE FROM egress_attempts WHERE subject = ?1 AND rowid IN
     (SELECT rowid FROM egress_attempts WHERE subject = ?1 ORDER BY last_ms DESC LIMIT -1 OFFSET ?2)`,
    id,
    MAX_ATTEMPTS,
  );
  return seen.length > 0;
}

/** Forgets what was recorded of attempts. */
export function dropAttempts(tx: Transaction, id: string): void {
  tx.run('DELETE FROM egress_attempts WHERE subject = ?', id);
}
