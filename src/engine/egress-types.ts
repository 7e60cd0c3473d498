import type { EgressAttempt, FollowedName } from '../network/index.ts';

/** A container or a network, by name or id. */
export interface EgressTarget {
  kind: 'container' | 'network';
  ref: string;
}

/** Rules and policies as texts: `allow example.com:443`, `default deny`. */
export type EgressChange =
  | { kind: 'set' | 'add' | 'withdraw'; rules: readonly string[] }
  | { kind: 'default'; otherwise: string }
  | { kind: 'remove' };

export interface EgressReport {
  kind: EgressTarget['kind'];
  id: string;
  name: string;
  /** In the order in which they decide. */
  rules: string[];
  /** What becomes of the rest: allow, deny or learn; '' without a policy. */
  otherwise: string;
  /** Policies of a container's networks, which must allow as well. */
  networks: { name: string; rules: string[] }[];
  /** Addresses that are open now by the name that they were answered for. */
  open: FollowedName[];
  /** What was denied, or learned; the latest first. */
  attempts: (EgressAttempt & { containerName: string })[];
}

export interface EgressService {
  report(target: EgressTarget): Promise<EgressReport>;
  /**
   * Changes a policy, of what runs at once: connections that it does not let through any more are cut.
   * @throws {TareError} InvalidArgument: a rule; NotFound: a rule to withdraw; Unsupported: its packets do not pass our rules
   */
  change(target: EgressTarget, change: EgressChange): Promise<void>;
  /** A policy that lets through what was let through while it was learned, a rule a line. */
  learned(target: EgressTarget): Promise<string[]>;
  /** Forgets what was tried. */
  clear(target: EgressTarget): Promise<void>;
}
