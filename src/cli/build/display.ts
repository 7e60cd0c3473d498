import type { BuildProgress } from '../../build/index.ts';
import type { BuildLedger } from './build-ledger.ts';

/** A build as its user sees it. */
export interface BuildDisplay {
  /** What was told so far. */
  readonly ledger: BuildLedger;
  show(progress: BuildProgress): void;
  /** Nothing more comes: leaves what is to stay on the screen. */
  end(): void;
}
