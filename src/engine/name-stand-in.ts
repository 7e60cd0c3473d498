import { setTimeout as sleep } from 'node:timers/promises';
import type { NameServer } from '../network/index.ts';
import { isServedInside, servedAddresses } from '../network/index.ts';
import type { NamePlace } from './name-servers.ts';

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
  #places: NamePlace[] = [];
  #handover: Promise<void> | undefined;
  #deadline = Number.POSITIVE_INFINITY;

  constructor(parts: StandInParts) {
    this.#parts = parts;
  }

  /** Sees to it that names are answered in these places from now on. */
  cover(places: readonly NamePlace[]): void {
    if (areServed(places)) return;
    this.#places.push(...places);
    this.#server ??= this.#parts.openServer();
    this.#server.look(new Set(this.#places.map(({ namespace }) => namespace)));
    this.#handover ??= this.#untilKeeper();
  }

  /** Waits for the keeper, a moment at most. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#deadline = performance.now() + KEEPER_COMES_MS;
    await this.#handover;
  }

  async #untilKeeper(): Promise<void> {
    // Even if the keeper has just come: whoever started this is to know of it before it ends.
    await Promise.resolve();
    try {
      for (
        let pauseMs = LOOK_MS;
        performance.now() < this.#deadline && !areServed(this.#places);
        pauseMs = Math.min(pauseMs * 1.2, SLOWEST_LOOK_MS)
      ) {
        // Again and again: the one that lives may just be ending.
        this.#parts.wakeKeeper();
        await sleep(pauseMs);
      }
    } finally {
      this.#server?.[Symbol.dispose]();
      this.#server = undefined;
      this.#places = [];
      this.#handover = undefined;
    }
  }
}

/** Whether the keeper answers in all of these places. */
function areServed(places: readonly NamePlace[]): boolean {
  const served = servedAddresses();
  return places.every(({ address, namespace }) => (namespace === '' ? served.has(address) : isServedInside(namespace)));
}
