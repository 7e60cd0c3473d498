import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isAway } from '../linux/index.ts';
import { holdPort, type PortMapping } from '../network/index.ts';
import { type Database, lastEventID } from '../state/index.ts';

/** How long the keeper may take to come and hold ports itself. */
const KEEPER_COMES_MS = 2_000;
/** Where the keeper carries the connections, nothing answers without it. */
const CARRIER_COMES_MS = 15_000;
const LOOK_MS = 10;

const lookedPath = (execRoot: string): string => join(execRoot, 'keeper.looked');

/** What the keeper is about to look at; `noteLook` with it afterwards tells that it has acted on it. */
export const beginLook: (db: Database) => number = lastEventID;

/** Tells the others up to which event the keeper has acted. */
export function noteLook(execRoot: string, event: number): void {
  writeFileSync(lookedPath(execRoot), String(event), { mode: 0o600 });
}

function lastLook(execRoot: string): number {
  try {
    return Number(readFileSync(lookedPath(execRoot), 'utf8'));
  } catch {
    return 0; // no keeper has looked yet
  }
}

/**
 * Published ports, held by the process that started their container until the keeper holds them: nobody gets between.
 * Disposing waits for that, a moment at most.
 */
export class HeldPorts implements AsyncDisposable {
  readonly #db: Database;
  readonly #execRoot: string;
  readonly #handovers = new Set<Promise<void>>();

  constructor(db: Database, execRoot: string) {
    this.#db = db;
    this.#execRoot = execRoot;
  }

  /** Called once the start is recorded. */
  hold(ports: readonly PortMapping[]): void {
    if (ports.length === 0) return;
    const held = new DisposableStack();
    for (const port of ports) {
      try {
        held.use(holdPort(port));
      } catch {
        // Taken since it was chosen; the keeper tells of it.
      }
    }
    const handover = this.#untilLooked(lastEventID(this.#db)).finally(() => {
      held.dispose();
      this.#handovers.delete(handover);
    });
    this.#handovers.add(handover);
  }

  async #untilLooked(event: number): Promise<void> {
    const deadline = performance.now() + (isAway() ? CARRIER_COMES_MS : KEEPER_COMES_MS);
    while (lastLook(this.#execRoot) < event && performance.now() < deadline) await sleep(LOOK_MS);
  }

  /** Resolves once the keeper holds them, or a moment has passed. */
  async handedOver(): Promise<void> {
    await Promise.all(this.#handovers);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.handedOver();
  }
}
