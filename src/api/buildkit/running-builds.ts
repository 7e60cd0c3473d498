import { EventEmitter } from 'node:events';
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
const MAX_NAME = 1_000;

const endOf = (ref: string) => `end ${ref}`;

/** Builds that run, by the names that their clients gave them. */
export class RunningBuilds {
  /** Names of builds that are over. */
  readonly #over = new Set<string>();
  readonly #ends = new EventEmitter().setMaxListeners(0);
  readonly #builds = new AwaitedMap<{ build: RunningBuild; owner: string | undefined }>();

  /** @throws {TareError} AlreadyExists; InvalidArgument: it has no name, or too long a one */
  add(ref: string, build: RunningBuild): Disposable {
    if (ref === '') throw new TareError('InvalidArgument', 'a build without a Ref: the client names it');
    if (ref.length > MAX_NAME)
      throw new TareError('InvalidArgument', `a build whose Ref has ${ref.length} characters: at most ${MAX_NAME}`);
    if (this.#builds.has(ref)) throw new TareError('AlreadyExists', `a build named ${ref} runs already`);
    const entry = { build, owner: ownerAtWork() };
    this.#builds.set(ref, entry);
    this.#over.delete(ref);
    return {
      [Symbol.dispose]: () => {
        this.#builds.delete(ref, entry);
        this.#over.add(ref);
        this.#ends.emit(endOf(ref));
        setTimeout(() => this.#over.delete(ref), REMEMBERED_MS).unref();
      },
    };
  }

  /** Its signal fires when a build of this name, whosever it is, is over, however it went; at once if that was lately. */
  end(ref: string): Disposable & { readonly signal: AbortSignal } {
    const over = new AbortController();
    const fire = () => over.abort();
    if (this.#over.has(ref)) fire();
    else this.#ends.once(endOf(ref), fire);
    return { signal: over.signal, [Symbol.dispose]: () => void this.#ends.off(endOf(ref), fire) };
  }

  /** @returns undefined: it is over, did not come in time, or is another caller's */
  async find(ref: string, waitMs: number, signal: AbortSignal): Promise<RunningBuild | undefined> {
    if (this.#over.has(ref)) return undefined;
    const found = await this.#builds.find(ref, waitMs, signal);
    return found && belongsToCaller(found.owner) ? found.build : undefined;
  }
}
