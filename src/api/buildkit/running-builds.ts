import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AwaitedMap } from './awaited-map.ts';
import type { StatusFeed } from './status-feed.ts';

export interface RunningBuild {
  feed: StatusFeed;
  /** Of the client that is its own frontend; never, of another. */
  calls: Promise<FrontendCalls>;
}

/** Builds that run, by the names that their clients gave them. */
export class RunningBuilds {
  readonly #builds = new AwaitedMap<RunningBuild>();

  /**
   * @param lingerMs for how long it is found after it is over
   * @throws {TareError} AlreadyExists
   */
  add(ref: string, build: RunningBuild, lingerMs: number): Disposable {
    if (this.#builds.has(ref)) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    this.#builds.set(ref, build);
    const forget = () => this.#builds.delete(ref, build);
    return { [Symbol.dispose]: () => void setTimeout(forget, lingerMs).unref() };
  }

  find(ref: string, waitMs: number, signal: AbortSignal): Promise<RunningBuild | undefined> {
    return this.#builds.find(ref, waitMs, signal);
  }
}
