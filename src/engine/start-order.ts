import type { Link } from './links.ts';
import { isContainerAlive, isUp } from './liveness.ts';
import type { ContainerRecord } from './types.ts';

/** What a container waits for in another one before it is started again. */
export interface Need {
  /** Id of the other. */
  id: string;
  until: 'up' | 'healthy' | 'done';
}

/** A container that may be started now. */
export interface Startable {
  id: string;
  /** Names of containers that it needs and that are not going to come: they are told, and it is tried without them. */
  without: string[];
}

const PROJECT = 'com.docker.compose.project';
const SERVICE = 'com.docker.compose.service';
const ONE_OFF = 'com.docker.compose.oneoff';
const DEPENDS_ON = 'com.docker.compose.depends_on';

const conditions: Record<string, Need['until']> = {
  service_started: 'up',
  service_healthy: 'healthy',
  service_completed_successfully: 'done',
};

/** Who needs whom among all containers. */
export class StartOrder {
  readonly #byID: Map<string, ContainerRecord>;
  readonly #byName: Map<string, ContainerRecord>;
  readonly #all: readonly ContainerRecord[];
  readonly #links: Map<string, Link[]>;

  /** @param links of the default network, as they are recorded: by id, whatever the containers are called now */
  constructor(all: readonly ContainerRecord[], links: readonly Link[] = []) {
    this.#all = all;
    this.#links = Map.groupBy(links, ({ parentId }) => parentId);
    this.#byID = new Map(all.map((record) => [record.id, record]));
    this.#byName = new Map(all.map((record) => [record.name, record]));
  }

  /**
   * Which of the containers that wait for their restart may be started now: each after those it shares namespaces with, is
   * linked to or takes volumes from, and after those that compose's label names, up, healthy or done as it says. A container is
   * waited for only while it is going to come up itself. Where several wait for each other, the oldest goes first.
   */
  startable(waiting: readonly ContainerRecord[]): Startable[] {
    const blockers = new Map(waiting.map((record) => [record.id, this.#blockersOf(record)]));
    return waiting
      .filter(({ id }) => blockers.get(id)!.length === 0 || this.#breaksCycle(id, blockers))
      .map((record) => ({ id: record.id, without: this.#missingFor(record) }));
  }

  /** In the order in which they are written, without itself and without containers that are gone. */
  needsOf(record: ContainerRecord): Need[] {
    const { host, networking, config } = record;
    const shared = [host.networkMode, host.pidMode, host.ipcMode]
      .filter((mode) => mode.startsWith('container:'))
      .map((mode) => mode.slice('container:'.length));
    const linked = [...host.links, ...networking.flatMap(({ links }) => links)].map((link) => link.split(':')[0]!);
    const mounted = host.volumesFrom.map((from) => from.split(':')[0]!);
    const named = [...shared, ...linked, ...mounted].flatMap((ref) => this.#find(ref) ?? []);
    const ids = [...named.map(({ id }) => id), ...(this.#links.get(record.id) ?? []).map(({ childId }) => childId)];
    const needs = [...ids.map((id): Need => ({ id, until: 'up' })), ...this.#composed(config.labels)];
    return needs.filter(({ id }) => id !== record.id && this.#byID.has(id));
  }

  /** @param ref id, name or unique beginning of an id */
  #find(ref: string): ContainerRecord | undefined {
    const name = ref.startsWith('/') ? ref.slice(1) : ref;
    const exact = this.#byID.get(name) ?? this.#byName.get(name);
    return exact ?? (/^[0-9a-f]{12,}$/.test(name) ? this.#all.find(({ id }) => id.startsWith(name)) : undefined);
  }

  /** compose's `SERVICE:CONDITION:RESTART,…`, each of all containers of that service in the same project. */
  #composed(labels: Record<string, string>): Need[] {
    const project = labels[PROJECT];
    if (project === undefined) return [];
    return (labels[DEPENDS_ON] ?? '').split(',').flatMap((entry) => {
      const [service = '', condition = ''] = entry.split(':');
      const until = conditions[condition] ?? 'up';
      return this.#all
        .filter(({ config: { labels: other } }) => other[PROJECT] === project && other[SERVICE] === service)
        .filter(({ config }) => config.labels[ONE_OFF]?.toLowerCase() !== 'true')
        .map(({ id }): Need => ({ id, until }));
    });
  }

  #blockersOf(record: ContainerRecord): string[] {
    return this.needsOf(record)
      .filter((need) => !isMet(need, this.#byID.get(need.id)!) && isComing(this.#byID.get(need.id)!))
      .map(({ id }) => id);
  }

  #missingFor(record: ContainerRecord): string[] {
    return this.needsOf(record)
      .map((need) => ({ need, other: this.#byID.get(need.id)! }))
      .filter(({ need, other }) => !isMet(need, other) && !isComing(other))
      .map(({ other }) => other.name);
  }

  /** Whether it waits for itself around a corner, and is the oldest of those that do. */
  #breaksCycle(id: string, blockers: ReadonlyMap<string, readonly string[]>): boolean {
    const reached = reach(id, blockers);
    if (!reached.has(id)) return false;
    const cycle = [...reached].filter((other) => reach(other, blockers).has(id)).map((other) => this.#byID.get(other)!);
    return cycle.sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1))[0]?.id === id;
  }
}

function isMet({ until }: Need, other: ContainerRecord): boolean {
  const runs = isUp(other) && isContainerAlive(other);
  if (until === 'done')
    return other.state.status === 'exited' && other.state.exitCode === 0 && other.state.startedMs > 0;
  return runs && (until === 'up' || other.state.health === null || other.state.health.status === 'healthy');
}

/** Whether a need that is not met may yet be. One that is recorded as up and is not will be settled in a moment. */
const isComing = (other: ContainerRecord): boolean => isUp(other) || other.state.status === 'restarting';

/** Everything that is waited for, directly and by what is waited for. */
function reach(from: string, blockers: ReadonlyMap<string, readonly string[]>): Set<string> {
  const seen = new Set<string>();
  const open = [...(blockers.get(from) ?? [])];
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    open.push(...(blockers.get(id) ?? []));
  }
  return seen;
}
