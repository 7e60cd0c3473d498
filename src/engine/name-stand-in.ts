import { setTimeout as sleep } from 'node:timers/promises';
import type { NameServer } from '../network/index.ts';
import { servedAddresses } from '../network/index.ts';

/** How long an ending process waits for the keeper to take names over. */
const KEEPER_COMES_MS = 2_000;
/** How often it is looked for: less and less, should it be kept from coming. */
const LOOK_MS = 20;
const SLOWEST_LOOK_MS = 500;

export interface StandInParts {
  openServer(): NameServer;
  wakeKeeper(): void;
}

/**
 * Names, served by a process that starts containers or watches the keeper, from when the keeper is missed until it serves
 * them: so no start waits for the keeper, and its end is hardly noticed. Both may listen at the same time.
 */
export class NamesStandIn implements AsyncDisposable {
  readonly #parts: StandInParts;
  #server: NameServer | undefined;
  #handover: Promise<void> | undefined;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(parts: StandInParts) {
    this.#parts = parts;
  }

  /** Sees to it that names are answered on these addresses from now on. */
  cover(addresses: readonly string[]): void {
    const served = servedAddresses();
    if (addresses.every((address) => served.has(address))) return;
    this.#server ??= this.#parts.openServer();
    this.#server.look();
    this.#handover ??= this.#untilKeeper();
  }

  /** Waits for the keeper, a moment at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#deadline = performance.now() + KEEPER_COMES_MS;
    await this.#handover;
  }

  async #untilKeeper(): Promise<void> {
    for (
      let pauseMs = LOOK_MS;
      performance.now() < this.#deadline;
      pauseMs = Math.min(pauseMs * 1.2, SLOWEST_LOOK_MS)
    ) {
      const served = servedAddresses();
      if (this.#server?.addresses.every((address) => served.has(address)) === true) break;
      // Again and again: the one that lives may just be ending.
      this.#parts.wakeKeeper();
      await sleep(pauseMs);
    }
    this.#server?.[Symbol.dispose]();
    this.#server = undefined;
    this.#handover = undefined;
  }
}
