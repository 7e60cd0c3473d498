import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createNetworkNamespace, RouteSocket, removeNetworkNamespace } from '../linux/index.ts';
import { setSysctl } from './sysctl.ts';

const LOOPBACK_INDEX = 1;

/** The containers' network namespaces, each kept by a bind mount on a file named after its container. */
export class Namespaces {
  readonly #directory: string;

  /** @param execRoot the run-time root; the files lie in its `netns/`, made on first use */
  constructor(execRoot: string) {
    this.#directory = join(execRoot, 'netns');
  }

  path(containerId: string): string {
    return join(this.#directory, containerId);
  }

  /** Whether a container's namespace is at its path: not only the file that a killed process made for it, or left of it. */
  isThere(containerId: string): boolean {
    const file = statSync(this.path(containerId), { throwIfNoEntry: false });
    return file !== undefined && file.dev !== statSync(this.#directory).dev;
  }

  /** Makes a namespace with `lo` up, replacing what a dead creator left at its path. */
  create(containerId: string): string {
    const path = this.path(containerId);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    if (existsSync(path)) removeNetworkNamespace(path);
    createNetworkNamespace(path, () => {
      // Links are born without IPv6 (no link-local address, no router advertisements); a network that has it turns it on.
      setSysctl('net/ipv6/conf/default/disable_ipv6', '1');
      // Nobody on the link tells a container where to send what; links that come take this over.
      for (const name of ['ipv4/conf/all', 'ipv4/conf/default', 'ipv6/conf/default']) {
        setSysctl(`net/${name}/accept_redirects`, '0');
      }
      using route = new RouteSocket();
      route.setLink(LOOPBACK_INDEX, { isUp: true });
    });
    return path;
  }

  delete(containerId: string): void {
    removeNetworkNamespace(this.path(containerId));
  }

  /** Containers that have a namespace file. */
  list(): string[] {
    return existsSync(this.#directory) ? readdirSync(this.#directory) : [];
  }
}
