import type { FrontendCalls } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AwaitedMap } from './awaited-map.ts';
import { belongsToCaller, ownerAtWork } from './belonging.ts';

export interface RunningBuild {
  /** Of the client that is its own frontend; of another, and when the build ended without, an error. */
  calls: Promise<FrontendCalls>;
}

/** So long a name is remembered after its build: calls that come late are told at once. */
const REMEMBERED_MS = 10_000;

/** Builds that run, by the names that their clients gave them. */
export class RunningBuilds {
  /** Names of builds that are over. */
  readonly #over = new Set<string>();
  readonly #builds = new AwaitedMap<{ build: RunningBuild; owner: string | undefined }>();

  /** @throws {TareError} AlreadyExists */
  add(ref: string, build: RunningBuild): Disposable {
    if (this.#builds.has(ref)) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    const entry = { build, owner: ownerAtWork() };
    this.#builds.set(ref, entry);
    this.#over.delete(ref);
    return {
      [Symbol.dispose]: () => {
        this.#builds.delete(ref, entry);
        this.#over.add(ref);
        setTimeout(() => this.#over.delete(ref), REMEMBERED_MS).unref();
      },
    };
  }

  /** @returns undefined: it is over, did not come in time, or is another caller's */
  async find(ref: string, waitMs: number, signal: AbortSignal): Promise<RunningBuild | undefined> {
    if (this.#over.has(ref)) return undefined;
    const found = await this.#builds.find(ref, waitMs, signal);
    return found && belongsToCaller(found.owner) ? found.build : undefined;
  }
}
