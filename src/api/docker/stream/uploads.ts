import { TareError } from '../../../errors/index.ts';

/** As docker waits. */
const WAIT_MS = 5_000;
const MAX_WAITING = 100;

/** A body, and who gives it waits until it is no longer needed. */
interface Upload {
  body: AsyncIterable<Uint8Array>;
  release(): void;
}

/** Bodies that clients send with one request for another one, which may come before or after. */
export class Uploads {
  readonly #given = new Map<string, { take(): Upload }>();
  readonly #wanted = new Map<string, (upload: Upload) => void>();

  /**
   * Offers a body. Resolves when it was taken and is no longer needed.
   * @throws {TareError} Internal: nobody wanted it in time; Unavailable: too many wait
   */
  async give(id: string, body: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const released = Promise.withResolvers<void>();
    const upload: Upload = { body, release: () => released.resolve() };
    const want = this.#wanted.get(id);
    if (want === undefined) {
      if (this.#given.size >= MAX_WAITING) throw new TareError('Unavailable', `${MAX_WAITING} uploads wait: try again`);
      await inTime(id, signal, (taken) => {
        const take = () => {
          taken(true);
          return upload;
        };
        this.#given.set(id, { take });
        return () => this.#given.delete(id);
      });
    } else {
      want(upload);
    }
    await released.promise;
  }

  /** @throws {TareError} Internal: it did not come in time */
  async take(id: string, signal: AbortSignal): Promise<Upload> {
    const given = this.#given.get(id);
    if (given !== undefined) return given.take();
    return await inTime<Upload>(id, signal, (came) => {
      this.#wanted.set(id, came);
      return () => this.#wanted.delete(id);
    });
  }
}

/** @param begin says how it is told, and how it no longer is */
async function inTime<T>(id: string, signal: AbortSignal, begin: (told: (what: T) => void) => () => void): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const giveUp = () =>
    reject(
      new TareError('Internal', `context deadline exceeded: half of the build ${JSON.stringify(id)} did not come`),
    );
  const timer = setTimeout(giveUp, WAIT_MS);
  signal.addEventListener('abort', giveUp, { once: true });
  const end = begin(resolve);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', giveUp);
    end();
  }
}
