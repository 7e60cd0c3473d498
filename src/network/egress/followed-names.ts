import { isIPv6 } from '../../linux/index.ts';
import type { Database } from '../../state/index.ts';
import type { Firewall } from '../firewall.ts';
import { listEndpoints, listNetworks } from '../records.ts';
import { contains, parseSubnet, type Subnet } from '../subnet.ts';
import { allowsName } from './decide.ts';
import {
  addAttempts,
  type FollowedName,
  listPolicies,
  putNames,
  type SeenAttempt,
  type StoredPolicy,
} from './records.ts';
import { opens } from './rules.ts';

/** How long an answered address stays open. */
export interface EgressTimes {
  /** At least so long, however short its record's TTL is: programs keep addresses longer than they may. */
  floorMs: number;
  /** And so long after its TTL, for a connection that is begun with its last breath. */
  graceMs: number;
}

export const usualTimes: EgressTimes = { floorMs: 60_000, graceMs: 60_000 };

const MAX_TTL_SECONDS = 7 * 24 * 3_600;
/** Names that are waiting to be written down; more are only counted by those that are there. */
const MAX_PENDING = 1_000;
const WRITE_MS = 1_000;

export interface FollowedNamesDeps {
  db: Database;
  firewall: Firewall;
  /** Addresses that this host has. */
  hostAddresses(): string[];
  times: EgressTimes;
  report(subject: string, error: unknown): void;
}

interface Situation {
  policies: Map<string, StoredPolicy>;
  /** Networks of each container that lead outside. */
  networks: Map<string, string[]>;
  /** Subnets of all networks: what is in them is a container, or ours. */
  subnets: Subnet[];
}

/** What our name server does for policies: it asks nobody for names that none allows, and opens what the others stand for. */
export class FollowedNames implements Disposable {
  readonly #deps: FollowedNamesDeps;
  /** By subject, name and address: when the kernel forgets it. */
  readonly #open = new Map<string, number>();
  readonly #pending = new Map<string, { subject: string; seen: SeenAttempt }>();
  #timer: NodeJS.Timeout | undefined;
  #situation: Situation = { policies: new Map(), networks: new Map(), subnets: [] };
  #version = -1;

  constructor(deps: FollowedNamesDeps) {
    this.#deps = deps;
  }

  /** Writes down what is pending when nobody waits for it any more. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }

  /** Whether a container may ask for a name that is not a container's: its own policy and one of its networks' must allow it. */
  allows(containerId: string, name: string): boolean {
    const { policies, networks } = this.#current();
    if (policies.size === 0) return true;
    const own = policies.get(containerId);
    const its = networks.get(containerId) ?? [];
    const byNetworks = its.map((id) => policies.get(id));
    const isAllowed = (policy: StoredPolicy | undefined) => policy === undefined || allowsName(policy.policy, name);
    const refusing = !isAllowed(own)
      ? own
      : byNetworks.length === 0 || byNetworks.some(isAllowed)
        ? undefined
        : byNetworks[0];
    if (refusing !== undefined) this.#note(refusing, containerId, name, true);
    for (const stored of [own, ...byNetworks]) {
      if (refusing === undefined && stored?.policy.otherwise === 'learn') this.#note(stored, containerId, name, false);
    }
    return refusing === undefined;
  }

  /** Whether a policy of its own or of one of its networks holds for a container. */
  isHeld(containerId: string): boolean {
    const { policies, networks } = this.#current();
    return [containerId, ...(networks.get(containerId) ?? [])].some((id) => policies.has(id));
  }

  /** Opens what a name was answered with, for the policies that mean the name. */
  async opened(containerId: string, name: string, addresses: readonly string[], ttlSeconds: number): Promise<void> {
    const { policies, networks } = this.#current();
    if (policies.size === 0) return;
    const now = Date.now();
    const aliveMs = Math.max(Math.min(ttlSeconds, MAX_TTL_SECONDS) * 1_000, this.#deps.times.floorMs);
    const foreign = addresses.filter((address) => this.#isForeign(address));
    for (const id of [containerId, ...(networks.get(containerId) ?? [])]) {
      const stored = policies.get(id);
      if (stored === undefined) continue;
      const { rules, otherwise } = stored.policy;
      const fresh = foreign.filter(
        (address) =>
          (otherwise === 'learn' || rules.some((rule) => rule.verdict === 'allow' && opens(rule, name, address))) &&
          (this.#open.get(`${id} ${name} ${address}`) ?? 0) < now + aliveMs,
      );
      if (fresh.length === 0) continue;
      const expiresMs = now + aliveMs + this.#deps.times.graceMs;
      await this.#openFor(
        stored,
        fresh.map((address) => ({ name, address, expiresMs })),
        now,
      );
    }
  }

  async #openFor(stored: StoredPolicy, names: readonly FollowedName[], nowMs: number): Promise<void> {
    const { id } = stored.subject;
    const { db, firewall, report } = this.#deps;
    const hasRoom = await db.write((tx) => putNames(tx, id, names, nowMs));
    if (hasRoom) {
      await firewall.openNames(stored.subject, names);
    } else {
      report(`names that ${id.slice(0, 12)} asked for`, new Error('too many addresses: the oldest are closed'));
      // What was forgotten leaves the kernel, too: its sets hold no more than the records.
      await firewall.synchronize();
    }
    if (!hasRoom || this.#open.size > MAX_REMEMBERED) this.#open.clear();
    for (const { name, address, expiresMs } of names) this.#open.set(`${id} ${name} ${address}`, expiresMs);
  }

  /** Whether an address may be opened by a name at all: not what is this host's, a container's, or on the link alone. */
  #isForeign(address: string): boolean {
    if (isReserved(address)) return false;
    if (this.#current().subnets.some((subnet) => contains(subnet, address))) return false;
    return !this.#deps.hostAddresses().includes(address);
  }

  #current(): Situation {
    const { db } = this.#deps;
    const version = db.version();
    if (version === this.#version) return this.#situation;
    const policies = new Map(listPolicies(db).map((stored) => [stored.subject.id, stored]));
    const networks = listNetworks(db);
    const leading = new Set(networks.filter(({ internal }) => !internal).map(({ id }) => id));
    const endpoints = policies.size === 0 ? [] : listEndpoints(db).filter(({ networkId }) => leading.has(networkId));
    const byContainer = Map.groupBy(endpoints, ({ containerId }) => containerId);
    const before = this.#situation.policies;
    // A policy that was changed, or taken away and given again, begins with what the records say.
    const isSame = [...policies].every(
      ([id, { policy }]) => JSON.stringify(before.get(id)?.policy) === JSON.stringify(policy),
    );
    if (!isSame || before.size !== policies.size) this.#open.clear();
    this.#situation = {
      policies,
      networks: new Map([...byContainer].map(([id, its]) => [id, its.map(({ networkId }) => networkId)])),
      subnets: networks.flatMap(({ ipam }) => ipam.map(({ subnet }) => parseSubnet(subnet))),
    };
    this.#version = version;
    return this.#situation;
  }

  /** Written down a moment later, with all that comes meanwhile: a flood of questions is one record. */
  #note({ subject }: StoredPolicy, containerId: string, name: string, isDenied: boolean): void {
    const key = `${subject.id} ${containerId} ${isDenied} ${name}`;
    const known = this.#pending.get(key);
    if (known !== undefined) {
      known.seen.more = (known.seen.more ?? 0) + 1;
      known.seen.lastMs = Date.now();
      return;
    }
    if (this.#pending.size >= MAX_PENDING) return;
    const seen = { isDenied, containerId, destination: name, protocol: 'dns', port: 0, lastMs: Date.now(), more: 1 };
    this.#pending.set(key, { subject: subject.id, seen });
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#write().catch((error: unknown) => this.#deps.report('record of names that were asked for', error));
    }, WRITE_MS).unref();
  }

  async #write(): Promise<void> {
    const bySubject = Map.groupBy(this.#pending.values(), ({ subject }) => subject);
    this.#pending.clear();
    for (const [id, entries] of bySubject) {
      await this.#deps.db.write((tx) =>
        addAttempts(
          tx,
          id,
          entries.map(({ seen }) => seen),
        ),
      );
    }
  }
}

const MAX_REMEMBERED = 100_000;

/** Addresses that no name of the world stands for: this machine, this link, nobody, or many (RFC 6890). */
export function isReserved(address: string): boolean {
  if (isIPv6(address)) {
    // Embedded IPv4 is judged by nobody on the way: mapped, compatible, translated (RFC 6052).
    return /^(::|64:ff9b:|fe[89a-f]|ff)/.test(address);
  }
  const [a = 0, b = 0] = address.split('.').map(Number);
  return a === 0 || a === 127 || a >= 224 || (a === 169 && b === 254);
}
