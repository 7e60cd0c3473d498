import type { Engine } from '../engine/index.ts';
import { NameServer } from '../network/index.ts';
import type { Duty } from './duty.ts';

/** Answers the containers of user-defined networks when they ask for names. */
export class Names implements Duty {
  readonly #server: NameServer;
  readonly #told = new Set<string>();

  constructor(engine: Engine) {
    this.#server = new NameServer({
      source: engine.names(),
      // The same failure comes back with every look.
      report: (subject, error) => {
        if (!this.#told.has(subject)) engine.report(subject, error);
        if (this.#told.size < 1_000) this.#told.add(subject);
      },
    });
  }

  look(): void {
    this.#server.look();
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
  }
}
