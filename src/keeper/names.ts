import type { Engine } from '../engine/index.ts';
import type { NameServer } from '../network/index.ts';
import type { Duty } from './duty.ts';

/** Answers the containers of user-defined networks when they ask for names. */
export class Names implements Duty {
  readonly #server: NameServer;

  constructor(engine: Engine) {
    this.#server = engine.openNameServer();
  }

  look(): void {
    this.#server.look();
  }

  [Symbol.dispose](): void {
    this.#server[Symbol.dispose]();
  }
}
