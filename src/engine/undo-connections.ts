import { TareError } from '../errors/index.ts';
import type { PortMapping } from '../network/index.ts';
import { publications } from './container-network.ts';
import { isSameAddress } from './live-ports.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

/**
 * Takes a container that runs off the networks, and its ports back, that its record does not know of: who connected or
 * published them was killed before it could say so. The caller holds the container's lock.
 */
export async function undoUnrecordedConnections(
  { networks }: Pick<EngineParts, 'networks'>,
  record: ContainerRecord,
): Promise<void> {
  const { id } = record;
  const recorded = new Set(record.networking.map(({ network }) => networkId(networks, network)));
  for (const { networkId, ports } of networks.endpoints({ containerId: id })) {
    if (!recorded.has(networkId)) {
      await networks.disconnect(id, networkId, { netns: networks.namespacePath(id) });
      continue;
    }
    const unrecorded = ports.filter((port) => !isRecorded(record, port));
    if (unrecorded.length > 0) await networks.unpublish(id, unrecorded);
  }
}

function networkId(networks: EngineParts['networks'], ref: string): string | undefined {
  try {
    return networks.get(ref).id;
  } catch (error) {
    if (error instanceof TareError && error.kind === 'NotFound') return undefined;
    throw error;
  }
}

/** Whether one of the container's bindings may have given this mapping. */
function isRecorded({ host, config }: ContainerRecord, mapping: PortMapping): boolean {
  return publications(host, config.exposedPorts).some(
    ({ hostIp, hostPort, hostPortEnd, containerPort, protocol }) =>
      containerPort === mapping.containerPort &&
      protocol === mapping.protocol &&
      (hostIp === '' || isSameAddress(hostIp, mapping.hostIp)) &&
      // A network without NAT takes no port of the host.
      (hostPort === 0 || mapping.hostPort === 0 || (mapping.hostPort >= hostPort && mapping.hostPort <= hostPortEnd)),
  );
}
