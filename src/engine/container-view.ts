import type { Endpoint, NetworkRecord } from '../network/index.ts';
import { type Link, linksOf, linksTo } from './links.ts';
import { imageViewKey } from './mount-sources.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord, ContainerView } from './types.ts';

/** What other records know of a container. */
interface Relations {
  endpoints(id: string): Endpoint[];
  /** Of those that have not ended. */
  execIds(id: string): string[];
  linksOf(id: string): Link[];
  linksTo(id: string): Link[];
}

const LIVE_EXECS = "SELECT id, container_id FROM execs WHERE json_extract(doc, '$.endedMs') = 0";

/** Asks for each container by itself. */
const relations = ({ db, networks }: EngineParts): Relations => ({
  endpoints: (containerId) => networks.endpoints({ containerId }),
  execIds: (id) => db.all<{ id: string }>(`${LIVE_EXECS} AND container_id = ?`, id).map((exec) => exec.id),
  linksOf: (id) => linksOf(db, id),
  linksTo: (id) => linksTo(db, id),
});

/** Asks once, for all containers. */
function allRelations({ db, networks }: EngineParts): Relations {
  const endpoints = Map.groupBy(networks.endpoints({}), ({ containerId }) => containerId);
  const execs = Map.groupBy(db.all<{ id: string; container_id: string }>(LIVE_EXECS), (exec) => exec.container_id);
  const links = linksOf(db);
  const byParent = Map.groupBy(links, ({ parentId }) => parentId);
  const byChild = Map.groupBy(links, ({ childId }) => childId);
  return {
    endpoints: (id) => endpoints.get(id) ?? [],
    execIds: (id) => (execs.get(id) ?? []).map((exec) => exec.id),
    linksOf: (id) => byParent.get(id) ?? [],
    linksTo: (id) => byChild.get(id) ?? [],
  };
}

/** A record with what other records know of it. */
export function viewOf(parts: EngineParts, record: ContainerRecord): ContainerView {
  return joined(parts, record, relations(parts), (id) => parts.networks.get(id));
}

/** `viewOf` for many containers, at the cost of a few questions for all. */
export function viewer(parts: EngineParts): (record: ContainerRecord) => ContainerView {
  let known: Relations | undefined;
  const networks = new Map<string, NetworkRecord>();
  const networkOf = (id: string): NetworkRecord => {
    const network = networks.get(id) ?? parts.networks.get(id);
    networks.set(id, network);
    return network;
  };
  return (record) => {
    known ??= allRelations(parts);
    return joined(parts, record, known, networkOf);
  };
}

function joined(
  parts: EngineParts,
  record: ContainerRecord,
  known: Relations,
  networkOf: (id: string) => NetworkRecord,
): ContainerView {
  const { id } = record;
  const endpoints = known.endpoints(id).map((endpoint) => {
    const network = networkOf(endpoint.networkId);
    const request = record.networking.find(({ network: ref }) => ref === network.name || network.id.startsWith(ref));
    return { ...endpoint, networkName: network.name, aliases: request?.aliases ?? [] };
  });
  return {
    ...{ ...record, mounts: shownMounts(parts, record), endpoints, execIds: known.execIds(id) },
    links: known.linksOf(id).flatMap(({ childId, alias }) => {
      const child = parts.store.find(childId);
      return child === undefined ? [] : [`/${child.name}:/${record.name}/${alias}`];
    }),
    linkedNames: known.linksTo(id).flatMap(({ parentId, alias }) => {
      const parent = parts.store.find(parentId);
      return parent === undefined ? [] : [`${parent.name}/${alias}`];
    }),
  };
}

/** An image has its place from the container's start on. */
const shownMounts = ({ layers }: EngineParts, { id, mounts }: ContainerRecord): ContainerRecord['mounts'] =>
  mounts.map((mount) =>
    mount.type === 'image' ? { ...mount, source: layers.mountPath(imageViewKey(id, mount.destination)) } : mount,
  );

/** A view with what the snapshot and its layers occupy. */
export async function withSizes(parts: EngineParts, view: ContainerView): Promise<ContainerView> {
  const { sizeBytes: rwBytes } = await parts.layers.usage(view.id);
  return { ...view, sizeRwBytes: rwBytes, sizeRootFsBytes: rwBytes + imageSize(parts, view.imageId) };
}

function imageSize(parts: EngineParts, imageID: string): number {
  try {
    return parts.images.resolve(imageID).sizeBytes;
  } catch {
    // Untagged and removed by force while the container stayed.
    return 0;
  }
}
