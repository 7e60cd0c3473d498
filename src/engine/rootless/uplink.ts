import { closeSync, existsSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  isProcessAlive,
  networkNamespaceId,
  RouteSocket,
  readProcessStat,
  reapProcess,
  SyscallError,
  signalProcess,
  spawnOnHost,
} from '../../linux/index.ts';
import { Locks } from '../../state/index.ts';

/** Its name in the engine's network. */
const LINK = 'outside';
const MTU = 65_520;
/** How long the program may take to give the link its address. */
const COMES_MS = 5_000;
const LOOK_MS = 2;
const SIGKILL = 9;
/** After a failure, so that not each command waits for another one. */
const RETRY_MS = 10_000;

/** The program that carries packets between the engine's network and the host's, or why there is none. */
interface UplinkRecord {
  program: string;
  pid: number;
  startTicks: number;
  /** Identity of the network that it joins to the outside. */
  network: string;
  /** '' while it works. */
  failure: string;
  atMs: number;
}

interface UplinkProgram {
  path: string;
  args(netns: string): string[];
}

const programs: UplinkProgram[] = [
  {
    path: '/usr/bin/pasta',
    // Nothing is forwarded inward: the engine publishes ports itself. --no-map-gw: containers do not reach the host's loopback.
    args: (netns) => [
      ...['--foreground', '--quiet', '--config-net', '--no-map-gw', '--ns-ifname', LINK, '--mtu', String(MTU)],
      ...['-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none', '--netns', netns],
    ],
  },
  {
    path: '/usr/bin/slirp4netns',
    args: (netns) => [
      ...['--configure', '--disable-host-loopback', '--enable-ipv6', `--mtu=${MTU}`, '--netns-type=path'],
      ...[netns, LINK],
    ],
  },
];

const recordFile = (folder: string): string => join(folder, 'uplink.json');

/** What the engine's network reaches the outside by. */
export function readUplink(folder: string): UplinkRecord | undefined {
  try {
    return JSON.parse(readFileSync(recordFile(folder), 'utf8')) as UplinkRecord;
  } catch {
    return undefined;
  }
}

/**
 * Sees to it that the engine's network reaches the outside. Cheap while it does. A failure is noted, and told by
 * {@link readUplink}: containers go on reaching each other.
 */
export async function keepUplink(folder: string, netns: string): Promise<void> {
  const network = networkNamespaceId(netns);
  if (isSettled(readUplink(folder), network)) return;
  using _lock = await new Locks(folder).acquire('uplink');
  if (isSettled(readUplink(folder), network)) return;
  // One that this process started is a zombie until it is collected.
  const before = readUplink(folder);
  if (before !== undefined && before.pid !== 0) {
    reapProcess(before.pid);
    // Of a network that nobody else is in any more.
    signalProcess(before.pid, before.startTicks, SIGKILL);
  }
  const failures: string[] = [];
  for (const program of programs) {
    const record = await tryProgram(folder, program, netns, network);
    if (record.failure === '') return note(folder, record);
    failures.push(record.failure);
  }
  note(folder, { program: '', pid: 0, startTicks: 0, network, failure: failures.join('; '), atMs: Date.now() });
}

function isSettled(record: UplinkRecord | undefined, network: string): boolean {
  if (record === undefined || record.network !== network) return false;
  if (record.failure !== '') return Math.abs(Date.now() - record.atMs) < RETRY_MS;
  return isProcessAlive(record.pid, record.startTicks);
}

async function tryProgram(
  folder: string,
  { path, args }: UplinkProgram,
  netns: string,
  network: string,
): Promise<UplinkRecord> {
  const failed = (failure: string): UplinkRecord => ({
    ...{ program: path, pid: 0, startTicks: 0, network, failure, atMs: Date.now() },
  });
  if (!existsSync(path)) return failed(`${path} is not installed`);
  const log = join(folder, 'uplink.log');
  // Left by a process that was killed before it could note whom it had started: with its link, that one ends.
  await removeLink();
  let pid: number;
  const logFd = openSync(log, 'w', 0o600);
  try {
    const descriptors = new Map([
      [1, logFd],
      [2, logFd],
    ]);
    pid = spawnOnHost({ path, args: args(netns), env: ['PATH=/usr/bin:/bin', 'LC_ALL=C.UTF-8'], descriptors });
  } catch (error) {
    if (error instanceof SyscallError) return failed(`${path} cannot be run (${error.code})`);
    throw error;
  } finally {
    closeSync(logFd);
  }
  const startTicks = readProcessStat(pid)?.startTicks ?? 0;
  const started: UplinkRecord = { program: path, pid, startTicks, network, failure: '', atMs: Date.now() };
  note(folder, started);
  const deadline = performance.now() + COMES_MS;
  while (performance.now() < deadline) {
    if (reapProcess(pid) !== 'running') {
      return failed(`${path} ended: ${readFileSync(log, 'utf8').trim().slice(-300) || 'it said nothing'}`);
    }
    if (hasAddress()) return started;
    await sleep(LOOK_MS);
  }
  process.kill(pid, 'SIGKILL');
  return failed(`${path} gave the network no address`);
}

async function removeLink(): Promise<void> {
  using route = new RouteSocket();
  const link = route.link(LINK);
  if (link !== undefined) await route.deleteLink(link.index);
}

/** Whether the link is there with an address that leads out. */
function hasAddress(): boolean {
  using route = new RouteSocket();
  const link = route.link(LINK);
  return link !== undefined && route.routes().some(({ index, prefix }) => index === link.index && prefix === 0);
}

function note(folder: string, record: UplinkRecord): void {
  const draft = `${recordFile(folder)}.${process.pid}`;
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
  renameSync(draft, recordFile(folder));
}
