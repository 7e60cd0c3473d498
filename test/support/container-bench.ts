import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isProcessAlive, signalProcess } from '../../src/linux/index.ts';
import {
  type CreateRequest,
  type ExecRequest,
  openRuntime,
  type ProcessIdentity,
  type Runtime,
  type RuntimeBinary,
  readExit,
  watchExits,
} from '../../src/runtime/index.ts';

export const crun: RuntimeBinary = { name: 'crun', path: '/usr/bin/crun', args: [] };
export const runc: RuntimeBinary = { name: 'runc', path: '/usr/sbin/runc', args: [] };

export interface TestContainer {
  id: string;
  bundle: string;
  container: ProcessIdentity;
  monitor: ProcessIdentity;
  endsInput: boolean;
  logPath: string;
  /** The exit code, once conmon has written it. */
  exit(): Promise<number | undefined>;
}

/** Real containers for tests: the host's static busybox in a folder, conmon and a runtime, in a temporary exec root. */
export class ContainerBench implements AsyncDisposable {
  readonly root = mkdtempSync(join(tmpdir(), 'tare-runtime-bench-with-long-paths-'));
  readonly runtime: Runtime & Disposable;
  readonly exitDir = join(this.root, 'exits');
  readonly #binary: RuntimeBinary;
  readonly #made: TestContainer[] = [];

  constructor(binary: RuntimeBinary = crun) {
    this.#binary = binary;
    this.runtime = openRuntime({ execRoot: this.root });
    mkdirSync(this.exitDir);
    const bin = join(this.root, 'rootfs', 'bin');
    mkdirSync(bin, { recursive: true });
    for (const folder of ['proc', 'dev', 'etc']) mkdirSync(join(this.root, 'rootfs', folder));
    copyFileSync('/bin/busybox', join(bin, 'busybox'));
    for (const name of [
      'sh',
      'cat',
      'true',
      'echo',
      'sleep',
      'dd',
      'stty',
      'yes',
      'head',
      'env',
      'md5sum',
      'id',
      'seq',
    ]) {
      symlinkSync('busybox', join(bin, name));
    }
    writeFileSync(join(bin, 'garbage'), 'not a program', { mode: 0o755 });
    writeFileSync(join(bin, 'private'), '#!/bin/sh', { mode: 0o644 });
  }

  /** Creates a container; `start` it next. */
  async create(args: string[], options: Partial<CreateRequest> = {}): Promise<TestContainer> {
    const id = randomBytes(32).toString('hex');
    const bundle = join(this.root, 'containers', id);
    mkdirSync(bundle, { recursive: true });
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec(this.root, args, options.terminal ?? false)));
    const logPath = join(bundle, 'container.log');
    const made = await this.runtime.create({
      id,
      bundle,
      runtime: this.#binary,
      terminal: false,
      stdin: false,
      stdinOnce: false,
      unprivileged: false,
      logPath,
      logMaxBytes: 0,
      exitDir: this.exitDir,
      persistDir: bundle,
      exitCommand: [],
      ...options,
    });
    const container = { id, bundle, ...made, logPath, exit: () => this.#exit(id) };
    this.#made.push(container);
    return container;
  }

  async start(container: TestContainer): Promise<void> {
    await this.runtime.start(container.id, this.#binary);
  }

  async run(args: string[], options: Partial<CreateRequest> = {}): Promise<TestContainer> {
    const container = await this.create(args, options);
    await this.start(container);
    return container;
  }

  /** A request for an exec in a container, in a folder of its own. */
  execRequest(container: TestContainer, args: string[], options: Partial<ExecRequest> = {}): ExecRequest {
    const execId = randomBytes(8).toString('hex');
    return {
      containerId: container.id,
      execId,
      directory: join(this.root, 'execs', execId),
      runtime: this.#binary,
      process: processOf(args, options.terminal ?? false),
      terminal: false,
      stdin: false,
      unprivileged: false,
      attach: true,
      ...options,
    };
  }

  async #exit(id: string): Promise<number | undefined> {
    for await (const name of watchExits(this.exitDir, AbortSignal.timeout(20_000))) {
      if (name === id) return readExit(this.exitDir, id);
    }
    return undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { id, container, monitor } of this.#made) {
      await this.runtime.delete(id, this.#binary, true);
      signalProcess(container.pid, container.startTicks, 9);
      while (isProcessAlive(monitor.pid, monitor.startTicks)) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    this.runtime[Symbol.dispose]();
    rmSync(this.root, { recursive: true, force: true });
  }
}

const capabilities = ['CAP_KILL', 'CAP_DAC_OVERRIDE', 'CAP_SETUID', 'CAP_SETGID'];

function processOf(args: string[], terminal: boolean) {
  return {
    terminal,
    user: { uid: 0, gid: 0 },
    args,
    env: ['PATH=/bin', 'TERM=xterm'],
    cwd: '/',
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
  };
}

function spec(root: string, args: string[], terminal: boolean) {
  return {
    ociVersion: '1.0.2',
    process: processOf(args, terminal),
    root: { path: join(root, 'rootfs'), readonly: true },
    hostname: 'bench',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=64k'] },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
    ],
    linux: {
      cgroupsPath: `/tare-bench-${randomBytes(6).toString('hex')}`,
      namespaces: ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
      resources: {},
    },
  };
}
