import type { Duplex } from 'node:stream';
import type { BuildSession } from '../../build/index.ts';
import { TareError } from '../../errors/index.ts';
import { AwaitedMap } from './awaited-map.ts';
import { belongsToCaller, ownerAtWork } from './belonging.ts';
import { WireSession } from './session/wire-session.ts';

/** A client opens its session and asks for its build at the same time, over two connections. */
const SESSION_WAIT_MS = 10_000;
const MAX_SESSIONS = 1_000;
const MAX_METHODS = 100;

/** Sessions of clients that are there. */
export class Sessions {
  readonly #sessions = new AwaitedMap<WireSession>();

  /**
   * Takes a connection on which the client serves gRPC. Resolves when the client is gone.
   * @param headers by which it introduces itself, names in lower case
   */
  async serve(connection: Duplex, headers: Readonly<Record<string, string | undefined>>): Promise<void> {
    const id = headers['x-docker-expose-session-uuid'] ?? '';
    if (id === '') throw new TareError('InvalidArgument', 'a session without X-Docker-Expose-Session-Uuid');
    if (this.#sessions.has(id)) throw new TareError('Conflict', `the session ${id} is there already`);
    if (this.#sessions.size >= MAX_SESSIONS)
      throw new TareError('Unavailable', `${MAX_SESSIONS} sessions are open: wait for builds to end`);
    // Several header fields of a name come joined.
    const told = (headers['x-docker-expose-session-grpc-method'] ?? '').split(',').map((method) => method.trim());
    const methods = told.filter((method) => method !== '');
    const session = new WireSession(connection, {
      id,
      sharedKey: headers['x-docker-expose-session-sharedkey'] ?? '',
      owner: ownerAtWork(),
      methods: new Set(methods.slice(0, MAX_METHODS)),
      sibling: (other, signal) => this.find(other, signal),
    });
    this.#sessions.set(id, session);
    if (!session.ended.aborted)
      await new Promise((resolve) => session.ended.addEventListener('abort', resolve, { once: true }));
    this.#sessions.delete(id, session);
  }

  /** @throws {TareError} NotFound: it did not come in time, or is another caller's */
  async find(id: string, signal: AbortSignal): Promise<BuildSession> {
    if (id === '') return noSession;
    const found = await this.#sessions.find(id, SESSION_WAIT_MS, signal);
    if (!found || !belongsToCaller(found.owner))
      throw new TareError('NotFound', `no active session for ${id}: the client did not open it`);
    return found;
  }

  /** Ends all. */
  close(): void {
    for (const session of this.#sessions.values()) session[Symbol.dispose]();
  }
}

const none = (): never => {
  throw new TareError('NotFound', 'the client opened no session: it has neither folders nor secrets to offer');
};

/** Of a client that offers nothing. */
const noSession: BuildSession = {
  id: '',
  sharedKey: '',
  ended: new AbortController().signal,
  folder: async () => none(),
  secret: async () => none(),
  requireSshAgent: async () => none(),
  sshAgent: async () => none(),
  credentials: async () => undefined,
  fileSink: async () => none(),
  sendFolder: async () => none(),
  upload: none,
  contentStore: none,
};
