import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { node } from '../support/built.ts';
import { Asker } from '../support/dns-client.ts';
import { busybox, TestEngine } from '../support/engine.ts';
import { collect, eventually } from '../support/execute.ts';
import type { Outside } from '../support/outside.ts';
import type { Attack } from '../support/raw-sender.ts';

const rawSender = join(import.meta.dirname, '../support/raw-sender.ts');
/** What the image's httpd shows. */
const PAGE = 'Hello from Tare\n';

let engine: TestEngine;
let outside: Outside;
const processOf = new Map<string, string>();

beforeAll(async () => {
  engine = await TestEngine.start({ face: 'docker' });
  outside = await engine.outside();
  await engine.cli(['network', 'create', '--ipv6', 'shop']);
  await engine.cli(['network', 'create', '--ipv6', 'elsewhere']);
  const run = async (name: string, flags: string[], command: string) => {
    await engine.cli(['run', '--detach', '--name', name, ...flags, busybox, 'sh', '-c', command]);
    processOf.set(name, (await engine.cli(['inspect', '--format', '{{.State.Pid}}', name])).stdout.trim());
  };
  const serving = 'nc -ll -p 7000 -e cat & httpd -f -p 80 -h /www';
  await run('web', ['--network', 'shop', '--publish', '8080:80', '--publish', '5201:5201'], serving);
  await eventually('both servers listen', async () => {
    const { stdout } = await engine.run([...within('web'), 'ss', '-Htln']);
    return stdout.includes(':80 ') && stdout.includes(':7000 ');
  });
  await run('client', ['--network', 'shop'], 'sleep 36000');
  await run('evil', ['--network', 'shop'], 'sleep 36000');
  await run('spy', ['--network', 'elsewhere'], 'sleep 36000');
}, 120_000);
afterAll(async () => {
  await outside[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
});

const within = (container: string): string[] => ['nsenter', `--net=/proc/${processOf.get(container)}/ns/net`];
const address = async (container: string, family: 'IPAddress' | 'GlobalIPv6Address' | 'Gateway') =>
  (
    await engine.cli(['inspect', '--format', `{{range .NetworkSettings.Networks}}{{.${family}}}{{end}}`, container])
  ).stdout.trim();

/** Sends one kind of frames out of a container again and again. @returns how to stop it */
function attack(container: string, what: Attack): () => Promise<void> {
  let isOver = false;
  const sending = (async () => {
    while (!isOver) {
      const { code, stderr } = await collect(
        engine.spawn([...within(container), node, rawSender, 'eth0', JSON.stringify(what)]),
      );
      expect(code, stderr).toBe(0);
    }
  })();
  return () => {
    isOver = true;
    return sending;
  };
}

const linkAddress = async (container: string): Promise<string> =>
  (await engine.run([...within(container), 'cat', '/sys/class/net/eth0/address'])).stdout.trim();

/** What a container does to the rest of its host must not change: its routes and its fixed neighbours. */
const lookOfHost = async (): Promise<string> =>
  (await engine.run(['sh', '-c', 'ip route; ip -6 route; ip neighbour show nud permanent | sort'])).stdout;

test('servers and clients go on while a neighbour spoofs, floods, and sends advertisements', async () => {
  const [web4, web6, gateway4] = [
    await address('web', 'IPAddress'),
    await address('web', 'GlobalIPv6Address'),
    await address('web', 'Gateway'),
  ];
  const [webMac, evilMac] = [await linkAddress('web'), await linkAddress('evil')];
  const bridgeMac = /lladdr (\S+)/.exec(
    (await engine.run([...within('evil'), 'ip', 'neighbour', 'show', gateway4])).stdout,
  )![1]!;
  const before = await lookOfHost();
  const count = 1_000;
  const stops = [
    { kind: 'udp', from: '203.0.113.9', to: outside.address, port: 53, destinationMac: bridgeMac, count } as const,
    { kind: 'udp', from: '203.0.113.9', to: web4, port: 80, destinationMac: webMac, count } as const,
    { kind: 'udp', from: '2001:db8:99::9', to: outside.address6, port: 53, destinationMac: bridgeMac, count } as const,
    { kind: 'advertise', from: 'fe80::bad', prefix: 'fd66::', destinationMac: '33:33:00:00:00:01', count } as const,
    { kind: 'arp', claims: gateway4, to: web4, destinationMac: webMac, count } as const,
    { kind: 'arp', claims: web4, to: gateway4, destinationMac: bridgeMac, count } as const,
    { kind: 'mac', as: webMac, count } as const,
  ].map((what) => attack('evil', what));
  try {
    using asker = new Asker((argv) => engine.spawn([...within('client'), ...argv]));
    for (let time = 0; time < 2; time += 1) {
      for (const host of [outside.insideAddress, `[${outside.insideAddress6}]`]) {
        const got = await outside.run(['curl', '--silent', '--show-error', '--max-time', '20', `http://${host}:8080/`]);
        expect(got.stdout).toBe(PAGE);
      }
      const page = await engine.run([...within('client'), 'curl', '--silent', '--max-time', '20', `http://${web4}/`]);
      expect(page.stdout).toBe(PAGE);
      const nc = `echo hello | timeout 20 busybox nc ${web4} 7000 | head -n 1`;
      const echoed = await engine.run([...within('client'), 'sh', '-c', nc]);
      expect(echoed.stdout).toBe('hello\n');
      for (const [type, answer] of [
        ['A', web4],
        ['AAAA', web6],
      ] as const) {
        expect(await asker.answer({ server: gateway4, name: 'web', type, transport: 'udp' })).toContain(answer);
        expect(await asker.answer({ server: gateway4, name: 'web', type, transport: 'tcp' })).toContain(answer);
      }
    }
    const server = engine.spawn([...within('web'), 'iperf3', '--server', '--one-off', '--forceflush']);
    await new Promise((resolve) => server.stdout.once('data', resolve));
    const ended = collect(server);
    const measured = await outside.run(['iperf3', '--client', outside.insideAddress, '--time', '2', '--json']);
    expect((await ended).code).toBe(0);
    const { end } = JSON.parse(measured.stdout) as { end: { sum_received: { bytes: number } } };
    expect(end.sum_received.bytes).toBeGreaterThan(1e6);
  } finally {
    for (const stop of stops) await stop();
  }
  expect(await lookOfHost()).toBe(before);
  expect(await linkAddress('evil')).toBe(evilMac);
}, 180_000);

test('a scan from another network finds nothing but what is published', async () => {
  const web = await address('web', 'IPAddress');
  const scan = async (from: string, host: string, ports: number[]): Promise<number[]> => {
    const tried = await Promise.all(
      ports.map(async (port) => {
        const probe = ['timeout', '10', 'busybox', 'nc', '-w', '3', host, String(port)];
        return (await engine.run([...within(from), ...probe], { expect: 'any' })).code === 0 ? [port] : [];
      }),
    );
    return tried.flat();
  };
  const ports = [22, 53, 80, 5201, 7000, 8080];
  expect(await scan('client', web, ports)).toEqual([80, 7000]);
  expect(await scan('spy', web, ports)).toEqual([]);
  expect(await scan('spy', outside.insideAddress, ports)).toEqual([8080]);
}, 60_000);
