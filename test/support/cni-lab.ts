import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RouteSocket } from '../../src/linux/index.ts';
import type { ConnectRequest, Endpoint, NetworkService } from '../../src/network/index.ts';
import { NetworkLab } from './network-lab.ts';

/** A lab whose networks are conflists, with a wire `lan0` to `lan1` to hang links on. */
export class CniLab implements AsyncDisposable {
  readonly lab: NetworkLab;
  readonly service: NetworkService;
  readonly confDir: string;
  /** Looked for plugins before Debian's. */
  readonly binDir: string;

  private constructor(lab: NetworkLab, service: NetworkService, confDir: string, binDir: string) {
    this.lab = lab;
    this.service = service;
    this.confDir = confDir;
    this.binDir = binDir;
  }

  static async open(): Promise<CniLab> {
    const lab = await NetworkLab.open();
    const [confDir, binDir] = [join(lab.root, 'net.d'), join(lab.root, 'bin')];
    for (const folder of [confDir, binDir]) mkdirSync(folder);
    const service = await lab.openService({ cni: { confDir, binDirs: [binDir, '/usr/lib/cni'] } });
    await lab.sh('ip link add lan0 type veth peer name lan1; ip link set lan0 up; ip link set lan1 up');
    return new CniLab(lab, service, confDir, binDir);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.lab[Symbol.asyncDispose]();
  }

  /** Ends what a test has left, and forgets its conflists and plugins. */
  async clear(): Promise<void> {
    await this.service.reconcile(() => false);
    for (const folder of [this.confDir, this.binDir]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder);
    }
  }

  hostLocal(subnet: string, more: object = {}): object {
    return {
      ...{ type: 'host-local', ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] },
      ...{ dataDir: join(this.lab.root, 'ipam'), ...more },
    };
  }

  conflist(name: string, plugins: object[], more: object = {}): void {
    const list = { cniVersion: '1.0.0', name, plugins, ...more };
    writeFileSync(join(this.confDir, `${name}.conflist`), JSON.stringify(list));
  }

  async connect(containerId: string, networkId: string, more: Partial<ConnectRequest> = {}): Promise<Endpoint> {
    const netns = this.service.createNamespace(containerId);
    return await this.service.connect({ containerId, networkId, netns, ports: [], ...more });
  }

  async end(containerId: string, networkId: string): Promise<void> {
    await this.service.deleteNamespace(containerId);
    await this.service.disconnect(containerId, this.service.get(networkId).id);
  }

  /** What plugins leave on the host: links, addresses given out, rules. */
  async traces(): Promise<string[]> {
    using route = new RouteSocket();
    const folder = join(this.lab.root, 'ipam');
    const given = existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];
    const rules = (await this.lab.sh('iptables-save; ip6tables-save')).split('\n');
    return [
      ...route.links().map(({ name }) => name),
      ...given.filter((name) => /\/[0-9a-f][0-9a-f.:]*$/.test(name)),
      ...rules.filter((line) => /CNI-DN|10\.8\d\./.test(line)),
    ].sort();
  }
}
