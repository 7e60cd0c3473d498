import { isIPv6 } from '../../linux/index.ts';
import type { Database } from '../../state/index.ts';
import type { Firewall } from '../firewall.ts';
import { listEndpoints } from '../records.ts';
import { protocolNumbers } from './decide.ts';
import { governedSubjects } from './governed.ts';
import type { HeldAttempt } from './held-attempts.ts';
import { addAttempts, type EgressSubject, type SeenAttempt } from './records.ts';

/** Of one subject and one look: more are left to the next. */
const MAX_WRITTEN = 1_024;

/**
 * Writes down what the kernel holds of attempts, so that it outlives a flush of the rules. Repeating adds nothing.
 * @param only of these subjects; of all by default
 */
export async function collectAttempts(
  deps: { db: Database; firewall: Firewall },
  only?: readonly string[],
): Promise<void> {
  const subjects = governedSubjects(deps.db, only);
  if (subjects.length === 0) return;
  const owners = new Map(
    listEndpoints(deps.db).flatMap(({ containerId, ipv4, ipv6 }) =>
      [ipv4, ipv6].filter((cidr) => cidr !== '').map((cidr) => [cidr.split('/', 1)[0] as string, containerId] as const),
    ),
  );
  for (const { subject, policy } of subjects) {
    const kinds = policy.otherwise === 'learn' ? (['denied', 'learned'] as const) : (['denied'] as const);
    const held = kinds.flatMap((kind) => deps.firewall.held.attempts(subject, kind));
    const seen = held.flatMap((attempt) => seenAttempt(attempt, subject, owners)).slice(0, MAX_WRITTEN);
    if (seen.length > 0 && hasNews(deps.db, subject, seen)) {
      await deps.db.write((tx) => addAttempts(tx, subject.id, seen));
    }
  }
}

function seenAttempt(held: HeldAttempt, subject: EgressSubject, owners: ReadonlyMap<string, string>): SeenAttempt[] {
  const { isDenied, source, destination, protocol, port, count, idleMs } = held;
  // Of a link-local source, or of somebody who has gone, only the network is known.
  const containerId = subject.kind === 'container' ? subject.id : (owners.get(source) ?? '');
  const lastMs = Date.now() - idleMs;
  const name = protocolName(protocol, destination);
  return count === 0 ? [] : [{ isDenied, containerId, destination, protocol: name, port, lastMs, total: count }];
}

/** Whether a look has found something that is not written down: most find nothing, and then nothing is written. */
function hasNews(db: Database, { id }: EgressSubject, seen: readonly SeenAttempt[]): boolean {
  const known = new Map(
    db
      .all<{ key: string; total: number }>(
        `SELECT is_denied || ' ' || container_id || ' ' || destination || ' ' || protocol || ' ' || port AS key, total
         FROM egress_attempts WHERE subject = ?`,
        id,
      )
      .map(({ key, total }) => [key, total]),
  );
  return seen.some(
    ({ isDenied, containerId, destination, protocol, port, total }) =>
      known.get(`${isDenied ? 1 : 0} ${containerId} ${destination} ${protocol} ${port}`) !== total,
  );
}

const names = new Map<number, string>(Object.entries(protocolNumbers).map(([name, number]) => [number, name]));

/** tcp, udp, sctp, icmp (of either family), or the number. */
function protocolName(protocol: string, destination: string): string {
  if (protocol === (isIPv6(destination) ? 'ipv6-icmp' : 'icmp')) return 'icmp';
  return names.get(Number(protocol)) ?? protocol;
}
