import type { AttachSession, ContainerView, EngineServices } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import type { ContainerConfig, HostConfig } from '../../runtime/index.ts';
import { createBody } from './schema/container.ts';
import { decodeJson } from './schema/decode.ts';
import { toContainerConfig } from './to-engine/container-config.ts';
import { toHostConfig } from './to-engine/host-config.ts';

const filled = decodeJson(createBody, {});
export const config: ContainerConfig = toContainerConfig(filled);
export const host: HostConfig = toHostConfig(filled.HostConfig);

export const ID = 'a'.repeat(64);

/** A running container on the bridge, for tests. */
export function view(change: Partial<ContainerView> = {}): ContainerView {
  return {
    id: ID,
    name: 'web',
    createdMs: 1_700_000_000_000,
    config: { ...config, image: 'busybox' },
    host,
    networking: [],
    imageId: `sha256:${'b'.repeat(64)}`,
    imageManifest: null,
    platform: { os: 'linux', architecture: 'amd64' },
    path: '/bin/sh',
    args: ['-c', 'echo hello world'],
    state: {
      status: 'running',
      pid: 42,
      pidStartTicks: 1,
      monitorPid: 41,
      monitorStartTicks: 1,
      removesVolumes: false,
      exitCode: 0,
      oomKilled: false,
      error: '',
      startedMs: 1_700_000_001_000,
      finishedMs: 0,
      health: null,
      stoppedByUser: false,
      isStopping: false,
      restartAtMs: 0,
    },
    mounts: [],
    restartCount: 0,
    bundle: '/run/tare/containers/a',
    logPath: '/log',
    hostnamePath: '/hostname',
    hostsPath: '/hosts',
    resolvConfPath: '/resolv.conf',
    driver: 'overlay',
    endpoints: [
      {
        id: 'e'.repeat(64),
        networkId: 'd'.repeat(64),
        containerId: ID,
        interfaceName: 'eth0',
        hostInterface: 'veth0',
        macAddress: '02:42:ac:14:00:02',
        ipv4: '172.20.0.2/16',
        ipv6: '',
        gatewayIpv4: '172.20.0.1',
        gatewayIpv6: '',
        ports: [],
        networkName: 'bridge',
        aliases: [],
      },
    ],
    execIds: [],
    links: [],
    linkedNames: [],
    ...change,
  };
}

type Services = { [Service in keyof EngineServices]: Partial<EngineServices[Service]> };

/** An engine that can do what a test gives it, and says Unsupported to the rest. */
export function fakeEngine(given: Partial<Services>): EngineServices {
  const services = ['containers', 'execs', 'images', 'volumes', 'networks', 'egress', 'events', 'system'] as const;
  const entries = services.map((service) => [
    service,
    new Proxy(given[service] ?? {}, {
      get: (methods, verb) =>
        Reflect.get(methods, verb) ??
        (() => {
          throw new TareError('Unsupported', `the test's engine has no ${service}.${String(verb)}`);
        }),
    }),
  ]);
  return Object.fromEntries(entries) as EngineServices;
}

/** A session that echoes its input until the input ends. */
export function echoSession(tty: boolean, before: Uint8Array[] = []): AttachSession & { isDisposed: () => boolean } {
  const queue: Uint8Array[] = [...before];
  let ended = false;
  let disposed = false;
  let wake = () => {};
  return {
    tty,
    isDisposed: () => disposed,
    output: (async function* () {
      for (;;) {
        const chunk = queue.shift();
        if (chunk) yield { stream: 'stdout' as const, chunk };
        else if (ended) return;
        else
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
      }
    })(),
    async write(chunk) {
      queue.push(chunk);
      wake();
    },
    closeStdin() {
      queue.push(Buffer.from('EOF'));
      ended = true;
      wake();
    },
    async [Symbol.asyncDispose]() {
      disposed = true;
      ended = true;
      wake();
    },
  };
}
