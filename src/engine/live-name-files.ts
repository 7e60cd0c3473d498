import { readFileSync } from 'node:fs';
import { type Endpoint, INNER_NAME_SERVER, type NetworkRecord } from '../network/index.ts';
import { resolvConfText, writeHosts, writeResolvConf } from './generated-files.ts';
import { currentNames } from './links.ts';
import { hostResolvConf } from './name-files.ts';
import { nameServerFor } from './name-servers.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

/**
 * After a running container has come to or left a network: its hosts file says its addresses, its resolv.conf whom it
 * asks for names. A resolv.conf that was changed by hand stays.
 *
 * @param before the record as it was before
 */
export function rewriteNameFiles(
  parts: Pick<EngineParts, 'db' | 'networks' | 'store' | 'names'>,
  before: ContainerRecord,
  endpoints: readonly Endpoint[],
): void {
  const record = parts.store.find(before.id) ?? before;
  writeHosts(record, endpoints, currentNames(parts, record));
  const networks = new Map(parts.networks.list().map((network): [string, NetworkRecord] => [network.id, network]));
  const nameServer = nameServerFor(record, endpoints, networks, parts.networks);
  if (nameServer !== undefined) parts.names.cover([nameServer]);
  if (isOurs(record, networks, endpoints)) writeResolvConf(record, nameServer?.address, endpoints);
}

/** Whether resolv.conf names a server of one of our networks, or is what a container without names finds. */
function isOurs(
  record: ContainerRecord,
  networks: ReadonlyMap<string, NetworkRecord>,
  endpoints: readonly Endpoint[],
): boolean {
  let text: string;
  try {
    text = readFileSync(record.resolvConfPath, 'utf8');
  } catch {
    return false;
  }
  const servers = [...networks.values()].flatMap(({ ipam }) => ipam.map(({ gateway }) => gateway));
  const hostText = hostResolvConf();
  // A network that says how names are asked may have come, or gone, with this change.
  return [undefined, INNER_NAME_SERVER, ...servers].some((server) =>
    [endpoints, [], ...endpoints.map((one) => endpoints.filter((other) => other !== one))].some(
      (its) => resolvConfText(record, server, its, hostText) === text,
    ),
  );
}
