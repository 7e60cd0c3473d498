import type { Database } from '../state/index.ts';
import type { ContainerStore } from './container-store.ts';
import { isHealthchecked } from './health.ts';
import { parseLogOptions } from './log-options.ts';
import { isShippingDriver } from './log-shipping/index.ts';
import type { ContainerRecord } from './types.ts';

/** Networks without names of containers; on all others the keeper answers for them. */
const nameless = new Set(['bridge', 'host', 'none']);

/** Of containers that the keeper may have work with. */
const living: ReadonlySet<string> = new Set(['running', 'paused', 'restarting']);

/** Whether a container that runs, or waits for its restart, needs the living process. */
export function needsKeeper(record: Pick<ContainerRecord, 'config' | 'host' | 'networking'>): boolean {
  return (
    record.networking.some(({ network }) => !nameless.has(network)) ||
    record.host.restartPolicy.name !== 'no' ||
    isHealthchecked(record.config.healthcheck) ||
    record.host.publishAllPorts ||
    Object.values(record.host.portBindings).some((bindings) => bindings.length > 0) ||
    isKeptByKeeper(record)
  );
}

/** Whether its log is rotated in time, or sent to a collector. */
function isKeptByKeeper({ host }: Pick<ContainerRecord, 'host'>): boolean {
  const { type, needsRotation } = parseLogOptions(host.logConfig);
  return needsRotation || isShippingDriver(type);
}

/** The containers that need the keeper: asked for several times after each change, and read once. */
export class KeeperWork {
  readonly #db: Database;
  readonly #store: ContainerStore;
  #version = -1;
  #work: readonly ContainerRecord[] = [];

  constructor(db: Database, store: ContainerStore) {
    this.#db = db;
    this.#store = store;
  }

  list(): readonly ContainerRecord[] {
    const version = this.#db.version();
    if (version !== this.#version) {
      this.#work = this.#store.shared().filter((record) => living.has(record.state.status) && needsKeeper(record));
      this.#version = version;
    }
    return this.#work;
  }
}
