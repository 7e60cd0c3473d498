import type { TestEngine } from '../test/support/engine.ts';
import type { Contender } from './contenders.ts';

/** What every part of the benchmark is given. */
export interface Bench {
  /** Through docker's client and the daemon. */
  tare: Contender & { engine: TestEngine };
  daemonless: Contender & { engine: TestEngine };
  docker: Contender | undefined;
  podman: Contender | undefined;
  /** Rounds of what is short. */
  rounds: number;
  /** Rounds of what is long. */
  long: number;
}
