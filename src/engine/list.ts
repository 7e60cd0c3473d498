import { TareError } from '../errors/index.ts';
import { viewer, withSizes } from './container-view.ts';
import { filterLabels, flagFilter, matchesName, refuseUnknownFilters } from './filters.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, ContainerView, Filters } from './types.ts';

const knownFilters = [
  ...['ancestor', 'before', 'exited', 'expose', 'health', 'id', 'isolation', 'is-task', 'label', 'label!', 'name'],
  ...['network', 'publish', 'since', 'status', 'volume'],
];

const statuses = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];

/**
 * docker's `ps`: newest first.
 * @throws {TareError} InvalidArgument: an unknown filter or value; NotFound: the container of `before` or `since`
 */
export async function listContainers(
  parts: EngineParts,
  options: { all?: boolean; limit?: number; size?: boolean; filters?: Filters } = {},
): Promise<ContainerView[]> {
  const filters = options.filters ?? {};
  const test = containerFilter(parts, filters);
  const limit = options.limit ?? 0;
  // A limit or a status asks for stopped ones too; an exit code does not.
  const all = options.all === true || limit > 0 || filters['status'] !== undefined;
  const records = parts.store
    .shared()
    .filter(({ state }) => all || ['running', 'paused', 'restarting'].includes(state.status));
  const view = viewer(parts);
  const views: ContainerView[] = [];
  for (const record of records) {
    let found: ContainerView | undefined;
    const viewed = () => (found ??= view(record));
    if (!test(record, viewed)) continue;
    views.push(options.size === true ? await withSizes(parts, viewed()) : viewed());
    if (views.length === limit) break;
  }
  return views;
}

/** What it finds asks for the view of a container only where the record does not tell. */
function containerFilter(
  parts: EngineParts,
  filters: Filters,
): (record: ContainerRecord, view: () => ContainerView) => boolean {
  refuseUnknownFilters(filters, knownFilters);
  refuseValues(filters, 'status', statuses);
  refuseValues(filters, 'health', ['none', 'starting', 'healthy', 'unhealthy']);
  const before = (filters['before'] ?? []).map((ref) => parts.store.get(ref).createdMs);
  const since = (filters['since'] ?? []).map((ref) => parts.store.get(ref).createdMs);
  const isTask = flagFilter(filters, 'is-task');
  const exitCodes = (filters['exited'] ?? []).map(parseExitCode);
  const ancestors = (filters['ancestor'] ?? []).map((ref) => ancestorOf(parts, ref));
  const any = (key: string, accepts: (value: string) => boolean) =>
    filters[key] === undefined || filters[key].some(accepts);
  return (record, view) =>
    isTask !== true &&
    any('id', (id) => matchesName(record.id, [id.startsWith('^') ? id : `^${id}`])) &&
    (filters['name'] === undefined ||
      matchesName(record.name, filters['name']) ||
      matchesName(`/${record.name}`, filters['name'])) &&
    any('status', (status) => record.state.status === status) &&
    any('health', (health) => (record.state.health?.status ?? 'none') === health) &&
    (exitCodes.length === 0 || (record.state.status === 'exited' && exitCodes.includes(record.state.exitCode))) &&
    before.every((createdMs) => record.createdMs < createdMs) &&
    since.every((createdMs) => record.createdMs > createdMs) &&
    filterLabels(filters, record.config.labels) &&
    (ancestors.length === 0 || ancestors.some((isAncestor) => isAncestor(record))) &&
    any('volume', (volume) =>
      view().mounts.some((mount) => [mount.name, mount.destination, mount.source].includes(volume)),
    ) &&
    any('network', (network) => usesNetwork(view(), network)) &&
    any('expose', (port) => portsOf(port).some((wanted) => isExposed(record, wanted))) &&
    any('publish', (port) => portsOf(port).some((wanted) => isPublished(view(), wanted)));
}

function refuseValues(filters: Filters, key: string, known: readonly string[]): void {
  const unknown = filters[key]?.find((value) => !known.includes(value));
  if (unknown !== undefined) throw new TareError('InvalidArgument', `invalid filter '${key}=${unknown}'`);
}

function parseExitCode(text: string): number {
  if (!/^-?\d{1,9}$/.test(text)) throw new TareError('InvalidArgument', `invalid filter 'exited=${text}'`);
  return Number(text);
}

/** Containers of an image, or of one whose layers build on it. */
function ancestorOf(parts: EngineParts, ref: string): (container: ContainerRecord) => boolean {
  let layers: string[];
  let id: string;
  try {
    const image = parts.images.resolve(ref);
    id = image.id;
    layers = image.config.rootfs.diff_ids;
  } catch {
    return (view) => view.config.image === ref;
  }
  return (view) => {
    if (view.imageId === id) return true;
    try {
      const own = parts.images.resolve(view.imageId).config.rootfs.diff_ids;
      return layers.length > 0 && layers.every((layer, index) => own[index] === layer);
    } catch {
      return false;
    }
  };
}

function usesNetwork(view: ContainerView, network: string): boolean {
  return (
    view.endpoints.some((endpoint) => endpoint.networkName === network || endpoint.networkId.startsWith(network)) ||
    view.networking.some((request) => request.network === network)
  );
}

/** Ports count while a container runs. */
const isExposed = (view: ContainerRecord, wanted: string): boolean =>
  isUp(view) && [...view.config.exposedPorts, ...Object.keys(view.host.portBindings)].includes(wanted);

const isPublished = (view: ContainerView, wanted: string): boolean =>
  view.endpoints.some(({ ports }) =>
    ports.some((port) =>
      [`${port.hostPort}/${port.protocol}`, `${port.containerPort}/${port.protocol}`].includes(wanted),
    ),
  );

/** `80`, `80/udp` or `8000-8010/tcp` as single ports. */
function portsOf(text: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (match === null)
    throw new TareError('InvalidArgument', `invalid filter: port ${JSON.stringify(text)}: want PORT[-PORT][/PROTOCOL]`);
  const [first, last] = [Number(match[1]), Math.min(Number(match[2] ?? match[1]), 65_535)];
  return Array.from({ length: Math.max(last - first, 0) + 1 }, (_, index) => `${first + index}/${match[3] ?? 'tcp'}`);
}
