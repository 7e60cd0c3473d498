import type { SourceMaterial } from '../operation.ts';

/** Who asked for a part of a build: a frontend with its options, or nobody but the client. */
export interface Asker {
  /** `dockerfile.v0`; empty: the client by itself. */
  frontend: string;
  options: Readonly<Record<string, string>>;
}

/** What one build looked at on its way, for those who tell how its result was made. */
export class BuildEvidence<Ref> {
  readonly startedMs: number;
  /** Results that frontends asked for, in order. */
  readonly refs: Ref[] = [];
  /** Images whose configs were read. */
  readonly images: SourceMaterial[] = [];

  constructor(startedMs: number) {
    this.startedMs = startedMs;
  }
}
