import type { Static, TObject, TSchema } from 'typebox';
import type { EngineServices } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { ApiRequest, ApiResponse } from './messages.ts';
import type { ApiVersion } from './version.ts';

/** What a handler gets: checked input and the engine. */
export interface Call<Q = unknown, B = unknown> {
  engine: EngineServices;
  /** Parameters of the path, decoded; one that the path does not have is ''. */
  params: { id: string; name: string };
  query: Q;
  body: B;
  request: ApiRequest;
  version: ApiVersion;
}

interface Definition<Q extends TObject, B extends TSchema> {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** `:id` is one segment, `:name*` may hold slashes. */
  path: string;
  query?: Q;
  /** JSON body; the handler gets undefined for an empty one. */
  body?: B;
  /** The answer may take over the connection. */
  hijack?: boolean;
  /** Its body may be large. */
  takesBulk?: boolean;
  handler: (call: Call<Static<Q>, Static<B> | undefined>) => Promise<ApiResponse>;
}

export interface Route {
  method: string;
  path: string;
  query?: TObject;
  body?: TSchema;
  hijack: boolean;
  takesBulk: boolean;
  handler: (call: Call) => Promise<ApiResponse>;
}

/** Declares a route; its handler's types follow from the schemas. */
export function route<Q extends TObject = TObject, B extends TSchema = TSchema>(definition: Definition<Q, B>): Route {
  // The dispatcher decodes query and body with these very schemas before it calls the handler.
  return { hijack: false, takesBulk: false, ...definition, handler: definition.handler as Route['handler'] };
}

interface Compiled {
  route: Route;
  pattern: RegExp;
  names: string[];
}

/** Finds the route of a request. */
export class RouteTable {
  readonly #byMethodAndArea = new Map<string, Compiled[]>();

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      const key = areaOf(route.method, route.path);
      const names: string[] = [];
      const pattern = route.path.replace(/:([a-z]+)(\*?)/g, (_, name: string, many: string) => {
        names.push(name);
        return many ? '(.+)' : '([^/]+)';
      });
      const compiled = { route, names, pattern: new RegExp(`^${pattern}$`) };
      const list = this.#byMethodAndArea.get(key);
      if (list) list.push(compiled);
      else this.#byMethodAndArea.set(key, [compiled]);
    }
  }

  /** The first declared route that fits; undefined: none. */
  find(method: string, path: string): { route: Route; params: Call['params'] } | undefined {
    for (const { route, pattern, names } of this.#byMethodAndArea.get(areaOf(method, path)) ?? []) {
      const match = pattern.exec(path);
      if (!match) continue;
      const params = { id: '', name: '' };
      names.forEach((name, index) => {
        params[name as 'id' | 'name'] = decode(match[index + 1]!);
      });
      return { route, params };
    }
    return undefined;
  }
}

function areaOf(method: string, path: string): string {
  const end = path.indexOf('/', 1);
  return `${method} ${end < 0 ? path : path.slice(0, end)}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new TareError('InvalidArgument', `invalid escape in the path: ${text}`);
  }
}
