import * as T from 'typebox';
import type { ContainerView, CreateContainer, EngineServices } from '../../../engine/index.ts';
import { kindOf, messageOf, TareError } from '../../../errors/index.ts';
import { containerInspectOf, containerSummaryOf } from '../from-engine/container.ts';
import type { ApiRequest } from '../messages.ts';
import { empty, json } from '../responses.ts';
import { route } from '../routing.ts';
import { createBody, updateBody } from '../schema/container.ts';
import { parseFilters } from '../schema/filters.ts';
import { createOfVersion, updateOfVersion } from '../to-engine/by-version.ts';
import { toContainerConfig } from '../to-engine/container-config.ts';
import { containerName } from '../to-engine/container-name.ts';
import { toHostConfig } from '../to-engine/host-config.ts';
import { withInterfaceSysctls } from '../to-engine/interface-sysctls.ts';
import { toNetworking } from '../to-engine/networking.ts';
import { toResourceChange } from '../to-engine/resources.ts';
import type { ApiVersion } from '../version.ts';

const listFilters = [
  ...['ancestor', 'before', 'expose', 'exited', 'health', 'id', 'isolation', 'is-task', 'label', 'name', 'network'],
  ...['publish', 'since', 'status', 'volume', 'label!'],
];

const macAddressWarning =
  'The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.';

const stopQuery = T.Object({ t: T.Optional(T.Integer()), signal: T.Optional(T.String()) });

export const containerRoutes = [
  route({
    method: 'GET',
    path: '/containers/json',
    query: T.Object({ all: T.Boolean(), limit: T.Integer(), size: T.Boolean(), filters: T.String() }),
    async handler({ engine, query, version }) {
      const filters = parseFilters(query.filters, listFilters);
      const limit = query.limit > 0 ? query.limit : undefined;
      const views = await engine.containers.list({ all: query.all, limit, size: query.size, filters });
      return json(await summariesOf(engine, views, version));
    },
  }),

  route({
    method: 'POST',
    path: '/containers/create',
    query: T.Object({ name: T.String(), platform: T.String() }),
    body: createBody,
    async handler({ engine, query, body: asked, version }) {
      if (!asked) throw new TareError('InvalidArgument', 'invalid JSON: got EOF while reading request body');
      const { body, warnings: moved } = withInterfaceSysctls(createOfVersion(asked, version), version);
      if (version >= 44 && body.MacAddress !== '') moved.push(macAddressWarning);
      const { id, warnings } = await create(engine, {
        name: query.name === '' ? undefined : containerName(query.name),
        platform: query.platform === '' || version < 41 ? undefined : query.platform,
        config: toContainerConfig(body),
        host: toHostConfig(body.HostConfig),
        networking: toNetworking(body),
        egress: body.Egress,
      });
      return json({ Id: id, Warnings: [...moved, ...warnings] }, 201);
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/json',
    query: T.Object({ size: T.Boolean() }),
    async handler({ engine, params, query, version }) {
      return json(containerInspectOf(await engine.containers.inspect(params.id, query), version));
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/start',
    query: T.Object({
      detachKeys: T.Optional(T.String()),
      checkpoint: T.Optional(T.String()),
      'checkpoint-dir': T.Optional(T.String()),
    }),
    async handler({ engine, params, query, request }) {
      refuseBody(request);
      const { detachKeys, checkpoint, 'checkpoint-dir': directory } = query;
      if (directory && !checkpoint) {
        throw new TareError('InvalidArgument', 'checkpoint-dir without a checkpoint: name the one to start from');
      }
      await engine.containers.start(params.id, {
        detachKeys,
        ...(checkpoint && { checkpoint: { name: checkpoint, directory: directory || undefined } }),
      });
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/stop',
    query: stopQuery,
    async handler({ engine, params, query, version }) {
      await engine.containers.stop(params.id, stopOptions(query, version));
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/restart',
    query: stopQuery,
    async handler({ engine, params, query, version }) {
      await engine.containers.restart(params.id, stopOptions(query, version));
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/kill',
    query: T.Object({ signal: T.String() }),
    async handler({ engine, params, query }) {
      await engine.containers.kill(params.id, query.signal || undefined);
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/rename',
    query: T.Object({ name: T.String() }),
    async handler({ engine, params, query }) {
      if (query.name === '') throw new TareError('InvalidArgument', 'Neither old nor new names may be empty');
      await engine.containers.rename(params.id, containerName(query.name));
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/update',
    body: updateBody,
    async handler({ engine, params, body, version }) {
      const change = body ? toResourceChange(updateOfVersion(body, version)) : {};
      const { warnings } = await engine.containers.update(params.id, change);
      return json({ Warnings: warnings });
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/pause',
    async handler({ engine, params }) {
      await engine.containers.pause(params.id);
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/unpause',
    async handler({ engine, params }) {
      await engine.containers.unpause(params.id);
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/:id/resize',
    query: T.Object({ h: T.Integer(), w: T.Integer() }),
    async handler({ engine, params, query }) {
      await engine.containers.resize(params.id, query.h, query.w);
      return empty(200);
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/top',
    query: T.Object({ ps_args: T.Optional(T.String()) }),
    async handler({ engine, params, query }) {
      const { titles, processes } = await engine.containers.top(params.id, query.ps_args);
      return json({ Titles: titles, Processes: processes });
    },
  }),

  route({
    method: 'GET',
    path: '/containers/:id/changes',
    async handler({ engine, params }) {
      const kinds = { modified: 0, added: 1, deleted: 2 };
      const changes = await engine.containers.changes(params.id);
      return json(changes.map(({ path, kind }) => ({ Path: path, Kind: kinds[kind] })));
    },
  }),

  route({
    method: 'DELETE',
    // A link's name has a slash.
    path: '/containers/:name*',
    query: T.Object({ v: T.Boolean(), force: T.Boolean(), link: T.Boolean() }),
    async handler({ engine, params, query }) {
      if (query.link) await engine.containers.removeLink(params.name);
      else await engine.containers.remove(params.name, { force: query.force, volumes: query.v });
      return empty(204);
    },
  }),

  route({
    method: 'POST',
    path: '/containers/prune',
    query: T.Object({ filters: T.String() }),
    async handler({ engine, query }) {
      const report = await engine.containers.prune(parseFilters(query.filters, ['until', 'label', 'label!']));
      return json({ ContainersDeleted: report.deleted, SpaceReclaimed: report.spaceReclaimedBytes });
    },
  }),
];

/** Docker's client pulls the image on any 404 to a create, so only a missing image, or one of another platform, may answer with one. */
async function create(engine: EngineServices, request: CreateContainer): Promise<{ id: string; warnings: string[] }> {
  try {
    return await engine.containers.create(request);
  } catch (error) {
    const { config, platform } = request;
    const isOther = kindOf(error) === 'NotFound' && (await imageId(engine, config.image, platform)) !== undefined;
    throw isOther ? new TareError('InvalidArgument', messageOf(error), { cause: error }) : error;
  }
}

function stopOptions({ t, signal }: { t?: number; signal?: string }, version: ApiVersion) {
  return { timeoutSeconds: t, signal: version >= 42 && signal ? signal : undefined };
}

/** The oldest clients sent a host configuration with the start; one of seven bytes or fewer is an empty object. */
function refuseBody({ headers }: ApiRequest): void {
  if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) <= 7) return;
  throw new TareError(
    'InvalidArgument',
    'starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24',
  );
}

/** Entries of the container list; an image whose name now means another is shown by its id. */
export async function summariesOf(engine: EngineServices, views: readonly ContainerView[], version: ApiVersion) {
  const now = Date.now();
  const idByName = new Map<string, string | undefined>();
  const summaries = [];
  for (const view of views) {
    const name = view.config.image;
    if (!idByName.has(name)) idByName.set(name, await imageId(engine, name));
    const shown = idByName.get(name) === view.imageId ? name : view.imageId;
    summaries.push(containerSummaryOf(view, shown, now, version));
  }
  return summaries;
}

async function imageId(engine: EngineServices, name: string, platform?: string): Promise<string | undefined> {
  try {
    return (await engine.images.inspect(name, platform === undefined ? {} : { platform })).id;
  } catch (error) {
    if (kindOf(error) === 'Internal') throw error;
    return undefined; // gone, or its name is ambiguous now
  }
}
