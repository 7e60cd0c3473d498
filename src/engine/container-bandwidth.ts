import { TareError } from '../errors/index.ts';
import { bandwidthFor } from '../network/index.ts';
import { inOrder } from './name-servers.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

type Limits = NonNullable<ContainerRecord['host']['networkBandwidth']>;

/** @throws {TareError} InvalidArgument: no rate; a container without a network of its own */
export function checkContainerBandwidth(host: Pick<ContainerRecord['host'], 'networkBandwidth' | 'networkMode'>): void {
  const { inBits, outBits } = bandwidthFor(host.networkBandwidth, {});
  if (inBits + outBits === 0) return;
  const { networkMode: mode } = host;
  if (mode === 'host' || mode === 'none' || mode.startsWith('container:')) {
    throw new TareError(
      'InvalidArgument',
      `conflicting options: --network-bandwidth and the network mode ${mode}: only networks of a container's own are limited`,
    );
  }
}

/** The limits of a container once some of them have changed. */
export function changedBandwidth({ host }: ContainerRecord, change: Limits): Limits {
  const { networkBandwidth: before } = host;
  const changed = { in: change.in || (before?.in ?? ''), out: change.out || (before?.out ?? '') };
  checkContainerBandwidth({ networkMode: host.networkMode, networkBandwidth: changed });
  return changed;
}

/** Makes the links of a running container as fast as its limits say; where an endpoint has its own, those stay. */
export async function applyBandwidth(parts: EngineParts, record: ContainerRecord, limits: Limits): Promise<void> {
  const networks = new Map(parts.networks.list().map((network) => [network.id, network]));
  const endpoints = parts.networks.endpoints({ containerId: record.id });
  for (const { endpoint, request } of inOrder(record, endpoints, networks)) {
    const bandwidth = bandwidthFor(limits, request?.driverOptions ?? {});
    await parts.networks.setBandwidth(record.id, endpoint.networkId, bandwidth);
  }
}
