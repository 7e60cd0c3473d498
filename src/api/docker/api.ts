import { type EngineServices, type RequestContext, withinRequest } from '../../engine/index.ts';
import { messageOf, TareError } from '../../errors/index.ts';
import { type AuditEntry, auditEntry } from './audit.ts';
import { errorResponse } from './errors.ts';
import type { Api, ApiBody, ApiLogger, ApiRequest, ApiResponse } from './messages.ts';
import { json } from './responses.ts';
import { buildRoutes } from './routes/build.ts';
import { type BuildConnections, buildConnectionRoutes } from './routes/build-connections.ts';
import { routes } from './routes/index.ts';
import { RouteTable } from './routing.ts';
import { readBody } from './schema/body.ts';
import { decodeQuery } from './schema/query.ts';
import { MAXIMUM_VERSION, splitVersion } from './version.ts';

/** A request and how it was answered. */
export interface Answered {
  method: string;
  /** `/containers/:id/start`; '': no route has the path. */
  route: string;
  status: number;
  /** Until the answer began. */
  seconds: number;
  /** The client's own span, W3C Trace Context; as it was sent. */
  traceparent: string | undefined;
}

export interface ApiOptions {
  version: string;
  /** Docker's client then shows what it hides otherwise. */
  experimental?: boolean;
  logger?: ApiLogger;
  /** Told of every request but pings, when its answer begins. */
  audit?: (entry: AuditEntry) => void;
  /** Serves BuildKit's protocol over connections of this API; undefined: there is no builder. */
  builds?: BuildConnections;
  /** Told of each request when its answer begins. */
  observe?: (answered: Answered) => void;
}

/** The Docker Engine API over an engine, bound to no transport. */
export function createApi(engine: EngineServices, options: ApiOptions): Api {
  const { builds } = options;
  const table = new RouteTable([...routes, ...buildRoutes(builds), ...(builds ? buildConnectionRoutes(builds) : [])]);
  const common = {
    'api-version': MAXIMUM_VERSION,
    'docker-experimental': String(options.experimental ?? false),
    ostype: 'linux',
    server: `Tare/${options.version} (linux)`,
  };

  async function answer(request: ApiRequest): Promise<ApiResponse> {
    if (request.refusal !== undefined) throw new TareError('Forbidden', request.refusal);
    const { version, path } = splitVersion(request.path);
    const found = table.find(request.method, path);
    if (!found) return json({ message: 'page not found' }, 404);
    const { route, params } = found;
    const query = route.query ? decodeQuery(route.query, request.query) : {};
    const body = route.body ? await readBody(request, route.body) : undefined;
    return await route.handler({ engine, params, query, body, request, version });
  }

  /** What the path means; undefined: nothing that we know. */
  function routeOf({ method, path }: ApiRequest): { path: string; target: string } | undefined {
    try {
      const found = table.find(method, splitVersion(path).path);
      return found && { path: found.route.path, target: found.params.id || found.params.name };
    } catch {
      return undefined; // the same error is answered
    }
  }

  async function answerOrRefuse(request: ApiRequest, context: RequestContext): Promise<ApiResponse> {
    const startedMs = Date.now();
    const started = performance.now();
    let response: ApiResponse;
    let refusal: string | undefined;
    try {
      response = await answer(request);
    } catch (error) {
      response = errorResponse(error);
      if (response.status === 403) refusal = messageOf(error);
      // Other errors are told to the client in full; one that is gone caused this one.
      if (response.status === 500 && !request.signal.aborted) {
        const message = `${request.method} ${request.path}: ${messageOf(error)}`;
        options.logger?.error({ err: error, status: response.status }, message);
      }
    }
    const found = routeOf(request);
    if (options.observe !== undefined) {
      options.observe({
        method: request.method,
        route: found?.path ?? '',
        status: response.status,
        seconds: (performance.now() - started) / 1000,
        traceparent: request.headers['traceparent'],
      });
    }
    if (options.audit !== undefined && found?.path !== '/_ping') {
      const times = { startedMs, endedMs: Date.now() };
      options.audit(auditEntry(request, found, { ...response, refusal }, times, context.subject));
    }
    return { ...response, headers: { ...common, ...response.headers } };
  }

  return {
    async handle(request) {
      const context: RequestContext = request.caller === undefined ? {} : { caller: request.caller };
      return within(context, await withinRequest(context, () => answerOrRefuse(request, context)));
    },

    hijacks(method, path) {
      if (method !== 'POST' && method !== 'GET') return false;
      try {
        return table.find(method, splitVersion(path).path)?.route.hijack ?? false;
      } catch {
        return false; // the same error is answered by `handle`
      }
    },

    takesBulk(method, path) {
      if (method !== 'PUT') return false;
      try {
        return table.find(method, splitVersion(path).path)?.route.takesBulk ?? false;
      } catch {
        return false;
      }
    },
  };
}

/** What an answer still does while it is sent is the request's doing as well. */
function within(context: RequestContext, response: ApiResponse): ApiResponse {
  const { body, upgrade } = response;
  const changed: ApiResponse = { ...response };
  if (body !== undefined && !(body instanceof Uint8Array)) changed.body = stepsWithin(context, body);
  if (upgrade !== undefined)
    changed.upgrade = (duplex, headers) => withinRequest(context, () => upgrade(duplex, headers));
  return changed;
}

function stepsWithin(context: RequestContext, body: ApiBody): ApiBody {
  const { sendTo, reuse } = body;
  return {
    ...(reuse && { reuse }),
    ...(sendTo && { sendTo: (socket, signal) => withinRequest(context, () => sendTo(socket, signal)) }),
    [Symbol.asyncIterator]() {
      const steps = withinRequest(context, () => body[Symbol.asyncIterator]());
      return {
        next: () => withinRequest(context, () => steps.next()),
        return: async () => {
          await withinRequest(context, () => steps.return?.());
          return { done: true, value: undefined };
        },
      };
    },
  };
}
