import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AwaitedMap } from './awaited-map.ts';
import { belongsToCaller, ownerAtWork } from './belonging.ts';

export interface RunningBuild {
  /** Of the client that is its own frontend; never, of another. */
  calls: Promise<FrontendCalls>;
}

/** Builds that run, by the names that their clients gave them. */
export class RunningBuilds {
  readonly #builds = new AwaitedMap<{ build: RunningBuild; owner: string | undefined }>();

  /** @throws {TareError} AlreadyExists */
  add(ref: string, build: RunningBuild): Disposable {
    if (this.#builds.has(ref)) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    const entry = { build, owner: ownerAtWork() };
    this.#builds.set(ref, entry);
    return { [Symbol.dispose]: () => this.#builds.delete(ref, entry) };
  }

  /** @returns undefined: it did not come in time, or is another caller's */
  async find(ref: string, waitMs: number, signal: AbortSignal): Promise<RunningBuild | undefined> {
    const found = await this.#builds.find(ref, waitMs, signal);
    return found && belongsToCaller(found.owner) ? found.build : undefined;
  }
}
