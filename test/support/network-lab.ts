import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { createNetworkNamespace, RouteSocket, removeNetworkNamespace, withNamespaceAt } from '../../src/linux/index.ts';
import type { NetworkService, NetworkServiceOptions } from '../../src/network/index.ts';
import { openNetworkService } from '../../src/network/index.ts';
import { Database, Locks } from '../../src/state/index.ts';
import { execute } from './execute.ts';
import type { PeerAnswer, PeerCommand } from './network-peer.ts';

const CLONE_NEWNS = 0x20000;
const CLONE_NEWNET = 0x40000000;
const MS_REC_PRIVATE = 0x4000 | 0x40000;

type Protocol = PeerCommand['protocol'];

/** A process in one network namespace that serves and asks. */
export class Peer implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (text: string) => void>();
  #count = 0;

  /** @param netns path of the namespace; undefined: the caller's */
  constructor(netns?: string) {
    const node = [process.execPath, join(import.meta.dirname, 'network-peer.ts')];
    const [program = '', ...args] = netns === undefined ? node : ['nsenter', `--net=${netns}`, ...node];
    this.#child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', ({ number, text }: PeerAnswer) => {
      this.#waiting.get(number)?.(text);
      this.#waiting.delete(number);
    });
  }

  /** @param host the address to serve UDP at, so that answers leave under it; all by default */
  serve(protocol: Protocol, port: number, host?: string): Promise<string> {
    return this.#tell({ verb: 'serve', protocol, port, ...(host === undefined ? {} : { host }) });
  }

  /** The address that the server saw us at, an error's code, or 'timeout'. */
  ask(protocol: Protocol, host: string, port: number, timeoutMs = 3000): Promise<string> {
    return this.#tell({ verb: 'ask', protocol, host, port, timeoutMs });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.once('exit', () => resolve());
    this.#child.disconnect();
    await promise;
  }

  #tell(command: PeerCommand): Promise<string> {
    this.#count += 1;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.#waiting.set(this.#count, resolve);
    this.#child.send({ number: this.#count, ...command });
    return promise;
  }
}

/**
 * A small world: this thread moves into a mount and a network namespace of its own (for good: one lab a test file), and
 * a second namespace, `outside`, is another host on a link to it, without a route to any container.
 */
export class NetworkLab implements AsyncDisposable {
  readonly root: string;
  readonly hostAddress = '198.51.100.1';
  readonly hostAddress6 = '2001:db8:51::1';
  readonly outsideAddress = '198.51.100.2';
  readonly outsideAddress6 = '2001:db8:51::2';
  readonly outside: string;
  readonly db: Database;
  readonly locks: Locks;
  readonly execRoot: string;
  readonly #opened: Disposable[] = [];

  private constructor(root: string, db: Database) {
    this.root = root;
    this.db = db;
    this.execRoot = join(root, 'run');
    this.locks = new Locks(join(root, 'locks'));
    this.outside = join(root, 'outside');
  }

  static async open(): Promise<NetworkLab> {
    enterOwnNamespaces();
    const root = realpathSync(mkdtempSync(join(tmpdir(), 'tare-lab-')));
    const lab = new NetworkLab(root, await Database.open(join(root, 'tare.db')));
    lab.#joinOutside();
    return lab;
  }

  async openService(options: Partial<NetworkServiceOptions> = {}): Promise<NetworkService & Disposable> {
    const { db, locks, execRoot } = this;
    // The machine may have networks of CNI, which are none of ours here.
    const cni = { confDir: join(this.root, 'net.d'), binDirs: ['/usr/lib/cni'] };
    const service = await openNetworkService({ db, locks, execRoot, cni, instance: 'tare-1ab00000', ...options });
    this.#opened.push(service);
    return service;
  }

  /** What a shell command prints in the lab's host, or in a namespace. */
  async sh(command: string, netns?: string): Promise<string> {
    const shell = ['sh', '-c', command];
    const { stdout } = await execute(netns === undefined ? shell : ['nsenter', `--net=${netns}`, ...shell]);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of this.#opened) service[Symbol.dispose]();
    this.db[Symbol.dispose]();
    removeNetworkNamespace(this.outside);
    const kept = join(this.execRoot, 'netns');
    for (const id of existsSync(kept) ? readdirSync(kept) : []) removeNetworkNamespace(join(kept, id));
    rmSync(this.root, { recursive: true, force: true });
  }

  #joinOutside(): void {
    createNetworkNamespace(this.outside, () => {
      using route = new RouteSocket();
      route.setLink(1, { isUp: true });
    });
    using here = new RouteSocket();
    here.setLink(1, { isUp: true });
    here.addBridge({ name: 'wire', macAddress: '02:00:00:00:00:01', mtu: 1500 });
    const wire = here.link('wire')!;
    const namespace = openSync(this.outside, 'r');
    here.addVeth({
      name: 'cable',
      master: wire.index,
      mtu: 1500,
      peer: { name: 'cable', namespace, macAddress: '02:00:00:00:00:02' },
    });
    here.addAddress(wire.index, this.hostAddress, 24);
    here.addAddress(wire.index, this.hostAddress6, 64);
    here.setLink(wire.index, { isUp: true });
    withNamespaceAt(this.outside, () => {
      using there = new RouteSocket();
      const { index } = there.link('cable')!;
      there.addAddress(index, this.outsideAddress, 24);
      there.addAddress(index, this.outsideAddress6, 64);
      there.setLink(index, { isUp: true });
    });
    here.addRoute({ destination: '0.0.0.0', prefix: 0, gateway: this.outsideAddress, index: 0 });
    here.addRoute({ destination: '::', prefix: 0, gateway: this.outsideAddress6, index: 0 });
  }
}

function enterOwnNamespaces(): void {
  const libc = koffi.load(null);
  const unshare = libc.func('int unshare(int flags)');
  const mount = libc.func('int mount(const char *from, const char *to, const char *type, unsigned long f, void *data)');
  if (unshare(CLONE_NEWNS | CLONE_NEWNET) !== 0) throw new Error('no namespaces of our own: the tests need root');
  if (mount(null, '/', null, MS_REC_PRIVATE, null) !== 0) throw new Error('mounts stay shared with the host');
}
