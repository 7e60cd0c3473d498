import { TareError } from '../../errors/index.ts';
import type { Database, Transaction } from '../../state/index.ts';
import type { NetworkRecord } from '../driver.ts';
import type { Firewall } from '../firewall.ts';
import type { NameHooks } from '../names/index.ts';
import { isGuarded } from '../network-options.ts';
import { findNetwork, listEndpoints } from '../records.ts';
import { collectAttempts } from './attempts.ts';
import { type EgressTimes, FollowedNames, usualTimes } from './followed-names.ts';
import { followedNetworks } from './governed.ts';
import { learnedPolicy } from './learned.ts';
import { checkSize, type EgressPolicy } from './policy.ts';
import {
  deletePolicy,
  dropAttempts,
  dropNames,
  type EgressAttempt,
  type EgressSubject,
  type FollowedName,
  findPolicy,
  listAttempts,
  listNames,
  putPolicy,
} from './records.ts';
import { opens } from './rules.ts';

/** What containers may reach: a policy of each container and of each network; where there are several, all must allow. */
export interface EgressService {
  find(id: string): EgressPolicy | undefined;
  /** Records the policy of a subject that is being recorded itself. */
  record(tx: Transaction, subject: EgressSubject, policy: EgressPolicy): void;
  /**
   * Changes a policy, at once for what runs: the rules first, then open connections that they do not let through are cut.
   *
   * @param change from the policy as it is; undefined: none
   * @returns the policy as it is now
   * @throws {TareError} Unsupported: the subject's packets do not pass our rules
   */
  change(
    subject: EgressSubject,
    change: (policy: EgressPolicy | undefined) => EgressPolicy | undefined,
    alongside?: (tx: Transaction) => void,
  ): Promise<EgressPolicy | undefined>;
  /** What was tried and denied, or learned; the latest first. */
  attempts(subject: EgressSubject): Promise<EgressAttempt[]>;
  /** Forgets attempts. */
  clear(subject: EgressSubject): Promise<void>;
  /** Addresses that are open now by the name that they were answered for. */
  openNames(id: string): FollowedName[];
  /** The policy that lets through what was let through while it was learned, and nothing else. */
  learned(subject: EgressSubject): Promise<{ policy: EgressPolicy; namesOnly: string[] }>;
  /** Networks whose containers must ask our name server even where there are no names of containers. */
  followedNetworks(): Set<string>;
  /** For the name server. */
  follow(report: (subject: string, error: unknown) => void): Required<NameHooks> & Disposable;
  /** Writes down what the kernel has of attempts, at most every two seconds. For a living process to call. */
  collect(): Promise<void>;
  /** Cuts what a policy that was changed by a process that died then does not let through. */
  settle(): void;
}

export interface EgressDeps {
  db: Database;
  firewall: Firewall;
  hostAddresses(): string[];
  times?: EgressTimes;
}

const COLLECT_MS = 2_000;

export function createEgressService(deps: EgressDeps): EgressService {
  const { db, firewall } = deps;
  let collectedMs = 0;
  return {
    find: (id) => findPolicy(db, id)?.policy,
    record: (tx, subject, policy) => putPolicy(tx, { subject, policy }),
    change: (subject, change, alongside) => changePolicy(deps, subject, change, alongside),
    attempts: async (subject) => {
      await collectAttempts(deps, [subject.id]);
      return listAttempts(db, subject.id);
    },
    clear: async (subject) => {
      firewall.held.drop(subject);
      await db.write((tx) => dropAttempts(tx, subject.id));
    },
    openNames: (id) => {
      const rules = findPolicy(db, id)?.policy.rules ?? [];
      const isOpen = ({ name, address }: FollowedName) =>
        rules.some((rule) => rule.verdict === 'allow' && opens(rule, name, address));
      return listNames(db, id).filter((followed) => followed.expiresMs > Date.now() && isOpen(followed));
    },
    learned: async (subject) => {
      await collectAttempts(deps, [subject.id]);
      const hosts = new Set(deps.hostAddresses());
      const policy = findPolicy(db, subject.id)?.policy;
      return learnedPolicy(policy, listAttempts(db, subject.id), listNames(db, subject.id), hosts);
    },
    followedNetworks: () => followedNetworks(db),
    follow: (report) => {
      const { hostAddresses, times = usualTimes } = deps;
      const names = new FollowedNames({ db, firewall, hostAddresses, times, report });
      return {
        allows: (containerId, name) => names.allows(containerId, name),
        isHeld: (containerId) => names.isHeld(containerId),
        onAnswer: (containerId, name, addresses, ttl) => names.opened(containerId, name, addresses, ttl),
        [Symbol.dispose]: () => names[Symbol.dispose](),
      };
    },
    collect: async () => {
      const now = performance.now();
      if (now - collectedMs < COLLECT_MS) return;
      collectedMs = now;
      await collectAttempts(deps);
    },
    settle: () => firewall.cutForbiddenFlows(new Set(deps.hostAddresses())),
  };
}

async function changePolicy(
  deps: EgressDeps,
  subject: EgressSubject,
  change: (policy: EgressPolicy | undefined) => EgressPolicy | undefined,
  alongside: ((tx: Transaction) => void) | undefined,
): Promise<EgressPolicy | undefined> {
  const { db, firewall } = deps;
  for (const network of networksOf(db, subject)) refuseUngoverned(network, subject.kind);
  const policy = await db.write((tx) => {
    const changed = change(findPolicy(tx, subject.id)?.policy);
    if (changed === undefined) {
      deletePolicy(tx, subject.id);
    } else {
      checkSize(changed.rules);
      putPolicy(tx, { subject, policy: changed });
      const isMeant = ({ name, address }: FollowedName) =>
        changed.otherwise === 'learn' || changed.rules.some((rule) => opens(rule, name, address));
      const forgotten = listNames(db, subject.id).filter((followed) => !isMeant(followed));
      dropNames(
        tx,
        subject.id,
        forgotten.map(({ name }) => name),
      );
    }
    alongside?.(tx);
    return changed;
  });
  if (firewall.exists) {
    await firewall.synchronize();
    firewall.cutForbiddenFlows(new Set(deps.hostAddresses()));
  }
  return policy;
}

function networksOf(db: Database, { kind, id }: EgressSubject): NetworkRecord[] {
  if (kind === 'network') return [findNetwork(db, id)];
  return listEndpoints(db, { containerId: id }).map(({ networkId }) => findNetwork(db, networkId));
}

/**
 * @param kind whose policy it is
 * @throws {TareError} Unsupported: packets of this network do not pass our rules, or do not say whose they are
 */
export function refuseUngoverned(network: NetworkRecord, kind: EgressSubject['kind']): void {
  const { driver, name } = network;
  if (driver === 'none' && kind === 'container') return;
  if (driver !== 'bridge') {
    throw new TareError(
      'Unsupported',
      `network ${name} (${driver}) takes no egress policy: its packets do not pass our rules; use a bridge network`,
    );
  }
  if (kind === 'network' || isGuarded(network)) return;
  throw new TareError(
    'Unsupported',
    `network ${name} has tare.bridge.spoof_guard=false, so that a packet does not say whose it is: give the network an egress policy, not a container on it`,
  );
}
