import type { EngineServices } from '../../engine/index.ts';
import { messageOf } from '../../errors/index.ts';
import { errorResponse } from './errors.ts';
import type { Api, ApiLogger, ApiRequest, ApiResponse } from './messages.ts';
import { json } from './responses.ts';
import { routes } from './routes/index.ts';
import { RouteTable } from './routing.ts';
import { readBody } from './schema/body.ts';
import { decodeQuery } from './schema/query.ts';
import { MAXIMUM_VERSION, splitVersion } from './version.ts';

/** The Docker Engine API over an engine, bound to no transport. */
export function createApi(engine: EngineServices, options: { version: string; logger?: ApiLogger }): Api {
  const table = new RouteTable(routes);
  const common = {
    'api-version': MAXIMUM_VERSION,
    'docker-experimental': 'false',
    ostype: 'linux',
    server: `Tare/${options.version} (linux)`,
  };

  async function answer(request: ApiRequest): Promise<ApiResponse> {
    const { version, path } = splitVersion(request.path);
    const found = table.find(request.method, path);
    if (!found) return json({ message: 'page not found' }, 404);
    const { route, params } = found;
    const query = route.query ? decodeQuery(route.query, request.query) : {};
    const body = route.body ? await readBody(request, route.body) : undefined;
    return await route.handler({ engine, params, query, body, request, version });
  }

  return {
    async handle(request) {
      let response: ApiResponse;
      try {
        response = await answer(request);
      } catch (error) {
        response = errorResponse(error);
        // Other errors are told to the client in full; one that is gone caused this one.
        if (response.status === 500 && !request.signal.aborted) {
          const message = `${request.method} ${request.path}: ${messageOf(error)}`;
          options.logger?.error({ err: error, status: response.status }, message);
        }
      }
      return { ...response, headers: { ...common, ...response.headers } };
    },

    hijacks(method, path) {
      if (method !== 'POST' && method !== 'GET') return false;
      try {
        return table.find(method, splitVersion(path).path)?.route.hijack ?? false;
      } catch {
        return false; // the same error is answered by `handle`
      }
    },
  };
}
