import { TareError } from '../../errors/index.ts';
import { type Link, NetlinkError, type RouteSocket, SyscallError } from '../../linux/index.ts';
import type { StoredNetwork } from '../records.ts';
import { innerParent, parentOf, vlanName } from './parent-options.ts';

/**
 * Links that swallow what is sent to them. A kernel built without `dummy` may have `ifb`, which does the same to frames
 * that nobody redirected to it.
 */
const sinks = ['dummy', 'ifb'] as const;

/** The links on the host that macvlan and ipvlan networks hang on. */
export class ParentLinks {
  readonly #route: RouteSocket;
  readonly #tag: string;

  /** @param instance tells our links from other engines': it is written to the alias of each */
  constructor(route: RouteSocket, instance: string) {
    this.#route = route;
    this.#tag = instance;
  }

  find(network: StoredNetwork): Link | undefined {
    return this.#route.link(parentOf(network));
  }

  /**
   * Before a network is recorded: whether its parent can be had.
   * @throws {TareError} InvalidArgument: no such link, and none that could be made
   */
  check(network: StoredNetwork): { owns: boolean } {
    const parent = parentOf(network);
    // dev_valid_name in net/core/dev.c
    if (!/^[^\s/:\0]{1,15}$/u.test(parent) || parent === '.' || parent === '..') {
      throw new TareError(
        'InvalidArgument',
        `invalid parent interface ${JSON.stringify(parent)}: want the name of a link, 1 to 15 characters`,
      );
    }
    if (parent === 'lo') {
      throw new TareError('InvalidArgument', `loopback interface is not a valid ${network.driver} parent link`);
    }
    if (this.#route.link(parent) !== undefined) return { owns: false };
    if (parent === innerParent(network)) return { owns: true };
    this.#carrier(parent);
    return { owns: true };
  }

  /** Makes a parent that is ours to make. Repeating is safe. @throws {TareError} InvalidArgument, Unsupported */
  ensure(network: StoredNetwork): Link {
    const name = parentOf(network);
    const present = this.#route.link(name);
    if (present !== undefined) {
      // Up last: such a one is complete.
      if (present.isUp || !network.ownsBridge) return present;
    } else if (!network.ownsBridge) {
      throw new TareError(
        'Unavailable',
        `parent interface ${name} of network ${network.name} is gone: put it back, or make the network anew`,
      );
    } else if (name === innerParent(network)) {
      this.#addSink(name);
    } else {
      const { vlanId } = vlanName(name);
      refusals(`failed to create ${name} vlan link`, '8021q', () =>
        this.#route.addVlan({ name, parent: this.#carrier(name).index, vlanId }),
      );
    }
    const link = this.#route.link(name);
    if (link === undefined) throw new TareError('Unavailable', `parent interface ${name} vanished while it was set up`);
    this.#route.setLink(link.index, { alias: this.#tag, isUp: true });
    return { ...link, isUp: true };
  }

  /** Removes a parent that is ours. Repeating is safe. */
  async remove(name: string): Promise<void> {
    const link = this.#route.link(name);
    if (link === undefined) return;
    try {
      await this.#route.deleteLink(link.index);
    } catch (error) {
      if (!(error instanceof SyscallError && error.code === 'ENODEV')) throw error;
    }
  }

  /** Parents of ours that no network has any more: their remover was killed before it came to them. */
  async removeStrays(networks: readonly StoredNetwork[]): Promise<void> {
    const wanted = new Set(networks.map(parentOf));
    for (const { name, alias } of this.#route.links()) {
      if (alias === this.#tag && !wanted.has(name)) await this.remove(name);
    }
  }

  #carrier(parent: string): Link {
    const { carrier } = vlanName(parent);
    const link = this.#route.link(carrier);
    if (link !== undefined) return link;
    throw new TareError(
      'InvalidArgument',
      `failed to find master interface ${carrier} on the host: Link not found: name one that is there with -o parent=`,
    );
  }

  #addSink(name: string): void {
    for (const kind of sinks) {
      try {
        this.#route.addSink({ name, kind });
        return;
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        if (error.code === 'EEXIST') return;
        if (error.code !== 'ENOTSUP') throw error;
      }
    }
    throw new TareError(
      'Unsupported',
      `a network without a parent needs a dummy link, which this kernel cannot make: load its module dummy, or add -o parent=LINK`,
    );
  }
}

/**
 * Says in the user's words what the kernel refuses.
 * @param module what the kind of link needs
 */
export function refusals<T>(subject: string, module: string, make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.code === 'EEXIST') return undefined;
    if (error.code === 'ENOTSUP') {
      throw new TareError('Unsupported', `${subject}: this kernel has no ${module}: load its module ${module}`, {
        cause: error,
      });
    }
    if (error.code === 'EBUSY') {
      throw new TareError(
        'Conflict',
        `${subject}: the parent interface is in use in another way (a port of a bridge, or of the other of macvlan and ipvlan)`,
        { cause: error },
      );
    }
    if (error.code === 'EADDRINUSE') {
      throw new TareError('Conflict', `${subject}: another link on it has the same MAC or IP address`, {
        cause: error,
      });
    }
    if (error.code === 'ENETDOWN') {
      throw new TareError('Unavailable', `${subject}: the parent interface is down: ip link set PARENT up`, {
        cause: error,
      });
    }
    throw new TareError('Unavailable', `${subject}: ${error.message}`, { cause: error });
  }
}
