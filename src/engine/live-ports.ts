import { TareError } from '../errors/index.ts';
import { isIP, isIPv6, parseAddress } from '../linux/index.ts';
import { type PortMapping, type PortSelection, selectionText, selects } from '../network/index.ts';
import { publications } from './container-network.ts';
import { containerEvent } from './events.ts';
import { isUp } from './liveness.ts';
import type { EngineParts } from './parts.ts';
import type { ContainerRecord } from './types.ts';

type Bindings = ContainerRecord['host']['portBindings'];

/**
 * Publishes more ports of a container, of a running one at once. The record keeps them, with the ports that were chosen.
 *
 * @returns the new mappings; none for a container that does not run
 * @throws {TareError} Conflict: a port is taken (names the holder), or the container has no ports of its own to publish
 */
export async function addPorts(parts: EngineParts, ref: string, wanted: Bindings): Promise<PortMapping[]> {
  const { id } = parts.store.get(ref);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.get(id);
  refuseForeignNetwork(record);
  const requests = publications({ portBindings: wanted, publishAllPorts: false }, []);
  if (requests.length === 0) throw new TareError('InvalidArgument', 'no port to publish was named');
  const network = parts.networks.get(record.networking[0]?.network ?? 'bridge');
  refuseRepeated(record, wanted);
  const chosen = isUp(record) ? await parts.networks.publish(id, network.id, requests) : [];
  try {
    await parts.store.update(id, (current, tx) => {
      for (const [index, { hostIp, containerPort, protocol }] of requests.entries()) {
        const key = `${containerPort}/${protocol}`;
        const asked = Object.values(wanted).flat()[index]?.hostPort ?? '';
        // What was chosen stays, so that a restart does not move it.
        const port = chosen[index]?.find(({ hostPort }) => hostPort !== 0)?.hostPort;
        const bindings = current.host.portBindings[key] ?? [];
        current.host.portBindings[key] = [...bindings, { hostIp, hostPort: port === undefined ? asked : String(port) }];
      }
      tx.event(containerEvent(current, 'publish', { ports: requests.map(requestText).join(',') }));
    });
  } catch (error) {
    await parts.networks.unpublish(id, chosen.flat());
    throw error;
  }
  const mappings = chosen.flat();
  if (mappings.length === 0) return [];
  parts.heldPorts.hold(mappings.filter(({ hostPort }) => hostPort !== 0));
  parts.wakeKeeper();
  return mappings;
}

/**
 * Takes published ports of a container back, of a running one at once. Open connections go on.
 * @throws {TareError} NotFound: one of them is not published; then none is taken back
 */
export async function removePorts(
  parts: EngineParts,
  ref: string,
  selections: readonly PortSelection[],
): Promise<void> {
  const { id } = parts.store.get(ref);
  using _intent = parts.intents.begin();
  using _lock = await parts.locks.acquire(`container:${id}`);
  const record = parts.store.get(id);
  refuseForeignNetwork(record);
  if (selections.length === 0) throw new TareError('InvalidArgument', 'no port to take back was named');
  const isLive = isUp(record);
  const published = isLive ? parts.networks.endpoints({ containerId: id }).flatMap(({ ports }) => ports) : [];
  const removed = isLive ? chosenMappings(published, selections) : [];
  const kept = isLive ? published.filter((port) => !removed.includes(port)) : recordedMappings(record, selections);
  // The record first: if this process ends in between, what is still published is taken back by whoever opens the engine next.
  await parts.store.update(id, (current, tx) => {
    const { host } = current;
    for (const selection of isLive ? removed : selections) {
      const key = `${selection.containerPort}/${selection.protocol}`;
      const bindings = host.portBindings[key] ?? [];
      const left = isLive ? withoutMapping(bindings, selection) : bindings.flatMap((one) => without(one, selection));
      if (left.length > 0) host.portBindings[key] = left;
      else delete host.portBindings[key];
    }
    // "All exposed ports" would bring them back with the next start: from now on those that are left are named.
    if (host.publishAllPorts) {
      host.publishAllPorts = false;
      for (const { containerPort, protocol } of kept) {
        host.portBindings[`${containerPort}/${protocol}`] ??= [{ hostIp: '', hostPort: '' }];
      }
    }
    tx.event(containerEvent(current, 'unpublish', { ports: selections.map(requestText).join(',') }));
  });
  if (isLive) await parts.networks.unpublish(id, removed);
}

/** Published mappings that are meant. @throws {TareError} NotFound: a selection that fits none */
function chosenMappings(published: readonly PortMapping[], selections: readonly PortSelection[]): PortMapping[] {
  for (const selection of selections) {
    if (published.some((mapping) => selects(selection, mapping))) continue;
    throw new TareError('NotFound', `port ${selectionText(selection)} is not published`);
  }
  return published.filter((mapping) => selections.some((selection) => selects(selection, mapping)));
}

/** Of a container that does not run. @throws {TareError} NotFound: a selection that fits no binding */
function recordedMappings(record: ContainerRecord, selections: readonly PortSelection[]): PortMapping[] {
  for (const selection of selections) {
    const bindings = record.host.portBindings[`${selection.containerPort}/${selection.protocol}`] ?? [];
    if (!bindings.some((binding) => without(binding, selection)[0] !== binding)) {
      throw new TareError('NotFound', `port ${requestText(selection)} of container ${record.name} is not published`);
    }
  }
  return [];
}

type Binding = Bindings[string][number];

/** What is left of a binding: itself, nothing, or the family that was not meant. */
function without(binding: Binding, { hostIp, hostPort }: Pick<PortSelection, 'hostIp' | 'hostPort'>): Binding[] {
  const [first = 0, last = first] = binding.hostPort.split('-').map(Number);
  const hasPort = hostPort === 0 || binding.hostPort === '' || (hostPort >= first && hostPort <= last);
  if (!hasPort) return [binding];
  if (hostIp === '' || isSameAddress(hostIp, binding.hostIp)) return [];
  if (binding.hostIp !== '') return [binding];
  // A binding without an address is one of each family.
  if (hostIp !== '0.0.0.0' && hostIp !== '::') return [];
  return [{ ...binding, hostIp: isIPv6(hostIp) ? '0.0.0.0' : '::' }];
}

/** Bindings less the one that a mapping came from: several may have taken a free port. */
function withoutMapping(bindings: readonly Binding[], mapping: PortSelection): Binding[] {
  const likeness = (binding: Binding): number =>
    without(binding, mapping)[0] === binding
      ? -1
      : (binding.hostPort === String(mapping.hostPort) ? 2 : 0) +
        (isSameAddress(binding.hostIp, mapping.hostIp) ? 1 : 0);
  const [best] = bindings.toSorted((a, b) => likeness(b) - likeness(a));
  return bindings.flatMap((binding) => (binding === best ? without(binding, mapping) : [binding]));
}

/** Whether two texts are one address: the record has it as the user wrote it. */
export const isSameAddress = (a: string, b: string): boolean =>
  a === b || (isIP(a) !== 0 && isIP(b) !== 0 && parseAddress(a).equals(parseAddress(b)));

function refuseRepeated(record: ContainerRecord, wanted: Bindings): void {
  for (const [key, bindings] of Object.entries(wanted)) {
    for (const { hostIp, hostPort } of bindings) {
      const isThere = (record.host.portBindings[key] ?? []).some(
        (other) => hostPort !== '' && other.hostIp === hostIp && other.hostPort === hostPort,
      );
      if (isThere) {
        const text = [hostIp, hostPort, key].filter((part) => part !== '').join(':');
        throw new TareError('Conflict', `port ${text} of container ${record.name} is published already`);
      }
    }
  }
}

function refuseForeignNetwork({ host, name }: ContainerRecord): void {
  const { networkMode } = host;
  if (networkMode !== 'host' && networkMode !== 'none' && !networkMode.startsWith('container:')) return;
  throw new TareError(
    'Conflict',
    `container ${name} has network mode ${networkMode}: only a container with a network of its own publishes ports`,
  );
}

const requestText = (port: { hostIp: string; hostPort: number; containerPort: number; protocol: string }): string =>
  [port.hostIp, port.hostPort === 0 ? '' : port.hostPort, `${port.containerPort}/${port.protocol}`]
    .filter((part) => part !== '')
    .join(':');
