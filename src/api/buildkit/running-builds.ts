import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AwaitedMap } from './awaited-map.ts';

export interface RunningBuild {
  /** Of the client that is its own frontend; never, of another. */
  calls: Promise<FrontendCalls>;
}

/** Builds that run, by the names that their clients gave them. */
export class RunningBuilds {
  readonly #builds = new AwaitedMap<RunningBuild>();

  /** @throws {TareError} AlreadyExists */
  add(ref: string, build: RunningBuild): Disposable {
    if (this.#builds.has(ref)) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    this.#builds.set(ref, build);
    return { [Symbol.dispose]: () => this.#builds.delete(ref, build) };
  }

  find(ref: string, waitMs: number, signal: AbortSignal): Promise<RunningBuild | undefined> {
    return this.#builds.find(ref, waitMs, signal);
  }
}
