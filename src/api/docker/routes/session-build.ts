import { randomUUID } from 'node:crypto';
import type { BuildOptions, EngineServices } from '../../../engine/index.ts';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import type { ApiRequest, ApiResponse } from '../messages.ts';
import { empty, lines } from '../responses.ts';
import type { BuildQuery } from '../schema/build.ts';
import { begin } from '../stream/begin.ts';
import { told } from '../stream/told.ts';
import { Uploads } from '../stream/uploads.ts';
import { toBuildOptions } from '../to-engine/build.ts';
import type { BuildConnections } from './build-connections.ts';

/** The context comes with a request of its own, whose build id begins so. */
const UPLOAD = 'upload-request';
/** The context is the session's folder. */
const CLIENT_SESSION = 'client-session';

/**
 * Builds as docker's client asked for them with BuildKit before it had buildx: folders, secrets and credentials are those of a session
 * that it opened, progress goes over the answer.
 */
export class SessionBuilds {
  readonly #connections: BuildConnections;
  readonly #uploads = new Uploads();

  constructor(connections: BuildConnections) {
    this.#connections = connections;
  }

  async answer(engine: EngineServices, query: BuildQuery, request: ApiRequest): Promise<ApiResponse> {
    const { buildid, remote, session, q: isQuiet } = query;
    if (buildid.startsWith(`${UPLOAD}:`)) {
      await this.#uploads.give(buildid.slice(UPLOAD.length + 1), request.body, request.signal);
      return empty(200);
    }
    const work = async (tell: (line: object) => void, signal: AbortSignal) => {
      await using undo = new AsyncDisposableStack();
      const upload = remote === UPLOAD ? await this.#uploads.take(buildid, signal) : undefined;
      if (upload !== undefined) undo.defer(() => upload.release());
      const context = contextOf(remote, upload?.body ?? request.body);
      const options = { ...toBuildOptions(query, request), context };
      const ref = randomUUID();
      const client = await this.#connections.findSession(session, signal);
      const over = new AbortController();
      const following = isQuiet ? undefined : follow(engine, ref, tell, signal, over.signal);
      const { imageID } = await engine.builds.build(options, { ref, signal, session: client }).finally(() => {
        over.abort();
        return following;
      });
      if (imageID === undefined) return;
      tell(isQuiet ? { stream: `${imageID}\n` } : { id: 'moby.image.id', aux: { ID: imageID } });
    };
    const sizeOf = (line: object) => ('aux' in line && typeof line.aux === 'string' ? line.aux.length : 0);
    const answer = told<object>(work, { sizeOf, instead: {}, signal: request.signal });
    try {
      return lines(await begin(answer));
    } catch (error) {
      throw kindOf(error) === 'NotFound' ? new TareError('InvalidArgument', messageOf(error), { cause: error }) : error;
    }
  }
}

function contextOf(remote: string, body: AsyncIterable<Uint8Array>): BuildOptions['context'] {
  if (remote === CLIENT_SESSION) return { ofSession: true };
  return remote === '' || remote === UPLOAD ? { stream: body } : { url: remote };
}

/** Resolves when the build is over; what becomes of it is told by who runs it. */
async function follow(
  engine: EngineServices,
  ref: string,
  tell: (line: object) => void,
  signal: AbortSignal,
  over: AbortSignal,
): Promise<void> {
  const { traceLine } = await import('../from-engine/build-trace.ts');
  try {
    for await (const status of (await engine.builds.history()).status(ref, signal, over)) tell(traceLine(status));
  } catch (error) {
    if (kindOf(error) !== 'NotFound' && !signal.aborted) throw error;
  }
}
