import { join } from 'node:path';
import { TareError } from '../../../errors/index.ts';
import type { Transaction } from '../../../state/index.ts';
import type { Endpoint } from '../../driver.ts';
import { dressForeignLink } from '../../endpoint-link.ts';
import type { NetworkDeps } from '../../network-deps.ts';
import type { ConnectRequest } from '../../network-service.ts';
import { insertNetwork, listNetworks, type StoredNetwork, updateEndpoint, updateNetwork } from '../../records.ts';
import type { EndpointShape, NetworkDriver } from '../network-driver.ts';
import { type Attachment, forgetAttachment, listAttachments, readAttachment, recordAttachment } from './attachment.ts';
import { add, check, collectGarbage, del, hasCapability, requirePlugins, status } from './chain.ts';
import { readConflists } from './conflist.ts';
import { lockPlugins, type PluginLock } from './plugin-lock.ts';
import { addressesOf, dnsOf } from './result.ts';
import { argumentsOf, runtimeConfigOf } from './runtime-config.ts';

/**
 * Networks of the machine's administrator, made by his plugins. A network is its conflist; its record is there while
 * containers are on it, for its endpoints to refer to.
 */
export class CniDriver implements NetworkDriver {
  readonly #deps: NetworkDeps;
  /** Lists whose plugins have said that they are ready. */
  readonly #ready = new Set<string>();

  constructor(deps: NetworkDeps) {
    this.#deps = deps;
  }

  /** Nobody makes one by us. */
  plan(network: StoredNetwork): StoredNetwork {
    return network;
  }

  async create(): Promise<void> {}
  async remove(): Promise<void> {}
  async dismantle(): Promise<void> {}

  async ready(network: StoredNetwork): Promise<StoredNetwork> {
    const { cni, db } = this.#deps;
    const list = cni.conflist(network.name);
    requirePlugins(list, cni.paths.binDirs);
    if (!this.#ready.has(list.name)) await status(list, cni.paths.binDirs);
    this.#ready.add(list.name);
    await db.write((tx) => {
      const isKnown = listNetworks(db).some(({ id }) => id === network.id);
      if (isKnown) updateNetwork(tx, network);
      else insertNetwork(tx, network);
    });
    return network;
  }

  shape(_tx: Transaction, network: StoredNetwork): EndpointShape {
    const publishes = hasCapability(this.#deps.cni.conflist(network.name), 'portMappings');
    return { hasLink: true, hasAddresses: false, hasGateway: false, hostInterface: '', publishes, macAddress: '' };
  }

  async connect(network: StoredNetwork, endpoint: Endpoint, request: ConnectRequest): Promise<Endpoint> {
    const { cni, db } = this.#deps;
    const attachment: Attachment = {
      list: cni.conflist(network.name),
      binDirs: cni.paths.binDirs,
      containerId: endpoint.containerId,
      ifName: endpoint.interfaceName,
      netns: request.netns,
      args: argumentsOf(request),
      runtimeConfig: runtimeConfigOf(network.name, endpoint, request),
    };
    using lock = await this.#lock(endpoint);
    await db.write((tx) => recordAttachment(tx, endpoint.id, attachment));
    const result = await add(attachment, lock.fd);
    const connected: Endpoint = { ...endpoint, ...addressesOf(result, endpoint.interfaceName), ...dnsOf(result) };
    dressForeignLink(request.netns, connected);
    await db.write((tx) => {
      updateEndpoint(tx, connected);
      recordAttachment(tx, endpoint.id, { ...attachment, result });
    });
    return connected;
  }

  async disconnect(
    _network: StoredNetwork,
    endpoint: Endpoint,
    netns: string | undefined,
    forget: () => Promise<void>,
  ): Promise<void> {
    const path = this.#deps.namespaces.path(endpoint.containerId);
    if (netns !== undefined) {
      await this.#detach(endpoint, netns);
    } else if (!this.#deps.namespaces.isThere(endpoint.containerId) || !(await this.#hasDetached(endpoint, path))) {
      // Without the namespace plugins must take back what they can (section 4, DEL), and get over what ADD did not come to.
      await this.#detach(endpoint, '');
    }
    await forget();
  }

  /** Plugins take back inside what they made there, and some of what they made outside only then. */
  async leave(_network: StoredNetwork, endpoint: Endpoint, netns: string): Promise<void> {
    await this.#hasDetached(endpoint, netns);
  }

  async reconcile(network: StoredNetwork, endpoints: readonly Endpoint[]): Promise<void> {
    const { db } = this.#deps;
    if (endpoints.length === 0) {
      await db.write((tx) => {
        const isFree = tx.get('SELECT 1 FROM endpoints WHERE network_id = ?', network.id) === undefined;
        if (isFree) tx.run('DELETE FROM networks WHERE id = ?', network.id);
      });
    }
    for (const endpoint of endpoints) {
      const attachment = readAttachment(db, endpoint.id);
      if (attachment !== undefined) await check(attachment);
    }
  }

  /** A plugin that fails must not keep a namespace alive for ever: it is asked once more when that is gone. */
  async #hasDetached(endpoint: Endpoint, netns: string): Promise<boolean> {
    try {
      await this.#detach(endpoint, netns);
      return true;
    } catch (error) {
      if (error instanceof TareError) return false;
      throw error;
    }
  }

  #lock(endpoint: Endpoint): Promise<PluginLock> {
    return lockPlugins(join(this.#deps.execRoot, 'cni'), endpoint.id);
  }

  async #detach(endpoint: Endpoint, netns: string): Promise<void> {
    const { db } = this.#deps;
    if (readAttachment(db, endpoint.id) === undefined) return;
    using lock = await this.#lock(endpoint);
    const attachment = readAttachment(db, endpoint.id);
    if (attachment === undefined) return;
    await del(attachment, netns, lock.fd);
    await db.write((tx) => forgetAttachment(tx, endpoint.id));
  }
}

/** Tells the plugins of every list which attachments there are; what they keep beyond them goes. */
export async function collectCniGarbage(deps: NetworkDeps): Promise<void> {
  const { binDirs, confDir } = deps.cni.paths;
  const attachments = listAttachments(deps.db);
  for (const { list } of readConflists(confDir).files) {
    await collectGarbage(
      list,
      binDirs,
      attachments.filter((one) => one.list.name === list.name),
    );
  }
}
