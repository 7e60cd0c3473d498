import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { TareError } from '../errors/index.ts';
import { readKernelFile } from '../linux/index.ts';

/** A table as `ps` prints it. */
export interface ProcessTable {
  titles: string[];
  processes: string[][];
}

/**
 * The processes of a container, as the host's `ps` shows them: pids and users are the host's.
 *
 * The default columns come straight from /proc; other arguments go to the host's `ps`, whose lines are then filtered.
 *
 * @param pids every process of the container
 * @param psArgs arguments for ps, parted by blanks; '' or `-ef` for the default
 * @throws {TareError} InvalidArgument: arguments that would rename or hide the pid; Unavailable: the host has no ps
 */
export async function processTable(pids: readonly number[], psArgs = ''): Promise<ProcessTable> {
  if (psArgs === '' || psArgs === '-ef') return fullFormat(pids);
  checkPsArgs(psArgs);
  const args = psArgs.split(' ').filter((arg) => arg !== '');
  // Some formats (f, m) do not go with a list of pids; those show every process of the host first.
  const output = await runPs([...args, `-q${pids.join(',')}`]).catch(() => runPs(args));
  return parsePs(output, new Set(pids));
}

/** `-o name=PID` would let another column pass for the pid, and show any process of the host. */
const renamedPid = /(?:^|\s)(?:-o)?([^\s]*)=\s*(PID[^\s]*)/g;

function checkPsArgs(psArgs: string): void {
  if (psArgs.includes('\0'))
    throw new TareError('InvalidArgument', `ps arguments ${JSON.stringify(psArgs)}: no zero bytes`);
  for (const [, column, title] of psArgs.matchAll(renamedPid)) {
    if (column !== 'pid') throw new TareError('InvalidArgument', `specifying "${column}=${title}" is not allowed`);
  }
}

const maxOutputBytes = 16 * 1024 * 1024;

function runPs(args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('ps', args, { maxBuffer: maxOutputBytes, timeout: 30_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (error.code === 'ENOENT')
        reject(new TareError('Unavailable', 'ps: not found on this host: install procps'));
      else
        reject(new TareError('InvalidArgument', `ps: ${stderr.split('\n', 1)[0] || error.message}`, { cause: error }));
    });
  });
}

/**
 * Reads what ps printed. What is left over behind the last title belongs to the last column. A line with `-` for a pid is
 * a thread of the process above it.
 */
export function parsePs(output: string, pids: ReadonlySet<number>): ProcessTable {
  const [head = '', ...lines] = output.split('\n');
  const titles = fieldsOf(head);
  const pidColumn = titles.indexOf('PID');
  if (pidColumn < 0) throw new TareError('InvalidArgument', "Couldn't find PID field in ps output");
  const processes: string[][] = [];
  let above = false;
  for (const line of lines) {
    const fields = fieldsOf(line);
    if (fields.length === 0) continue;
    const pid = fields[pidColumn] ?? '';
    if (pid !== '-') {
      if (!/^\d+$/.test(pid)) throw new TareError('Internal', `Unexpected pid '${pid}' in ps output`);
      above = pids.has(Number(pid));
    }
    if (above) processes.push(intoColumns(fields, titles.length));
  }
  return { titles, processes };
}

const fieldsOf = (line: string) => line.split(/[\t\n\f\r ]+/).filter((field) => field !== '');

const intoColumns = (fields: readonly string[], columns: number) => [
  ...fields.slice(0, columns - 1),
  fields.slice(columns - 1).join(' '),
];

const fullTitles = ['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'];

/** What `ps -ef` prints for these processes. One that ends meanwhile is left out. */
function fullFormat(pids: readonly number[]): ProcessTable {
  const accounts = accountNames();
  const clock = bootClock();
  const rows = pids.flatMap((pid) => {
    const row = fullRow(pid, accounts, clock);
    return row === undefined ? [] : [row];
  });
  return { titles: fullTitles, processes: rows };
}

const ticksPerSecond = 100;

interface Clock {
  bootSeconds: number;
  uptimeSeconds: number;
}

function bootClock(): Clock {
  const bootSeconds = Number(/^btime (\d+)$/m.exec(readKernelFile('/proc/stat') ?? '')?.[1] ?? 0);
  const uptimeSeconds = Number.parseFloat(readKernelFile('/proc/uptime') ?? '0');
  return { bootSeconds, uptimeSeconds };
}

function fullRow(pid: number, accounts: ReadonlyMap<number, string>, clock: Clock): string[] | undefined {
  const stat = readKernelFile(`/proc/${pid}/stat`);
  const status = readKernelFile(`/proc/${pid}/status`);
  if (stat === undefined || status === undefined) return undefined;
  // The name is in parentheses and may hold any character; the fields after it are numbered from 3 (proc_pid_stat(5)).
  const end = stat.lastIndexOf(')');
  const name = stat.slice(stat.indexOf('(') + 1, end);
  const fields = stat.slice(end + 2).split(' ');
  const field = (number: number) => Number(fields[number - 3]);
  const cpuTicks = field(14) + field(15);
  const startSeconds = field(22) / ticksPerSecond;
  const ranSeconds = Math.max(1, Math.floor(clock.uptimeSeconds - startSeconds));
  const effectiveUid = Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0);
  return [
    accountName(effectiveUid, accounts),
    String(pid),
    String(field(4)),
    String(Math.min(99, Math.floor(cpuTicks / ranSeconds))),
    startTime(clock.bootSeconds + startSeconds),
    terminalName(field(7)),
    duration(Math.floor(cpuTicks / ticksPerSecond)),
    commandOf(pid, name, fields[0] === 'Z'),
  ];
}

/** ps cuts names to its column's eight characters. */
function accountName(uid: number, accounts: ReadonlyMap<number, string>): string {
  const name = accounts.get(uid);
  if (name === undefined) return String(uid);
  return name.length > 8 ? `${name.slice(0, 7)}+` : name;
}

function accountNames(): Map<number, string> {
  const names = new Map<number, string>();
  let text: string;
  try {
    text = readFileSync('/etc/passwd', 'utf8');
  } catch {
    return names;
  }
  for (const line of text.split('\n')) {
    const [name, , uid] = line.split(':');
    if (name && uid && !names.has(Number(uid))) names.set(Number(uid), name);
  }
  return names;
}

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Today the time, this year the day, else the year. */
export function startTime(seconds: number, now = new Date()): string {
  const start = new Date(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  if (start.getFullYear() !== now.getFullYear()) return String(start.getFullYear());
  if (start.getMonth() !== now.getMonth() || start.getDate() !== now.getDate()) {
    return `${months[start.getMonth()]}${two(start.getDate())}`;
  }
  return `${two(start.getHours())}:${two(start.getMinutes())}`;
}

/** `[DAYS-]HH:MM:SS` */
export function duration(seconds: number): string {
  const parts = [Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, seconds % 60];
  const days = Math.floor(seconds / 86400);
  return `${days > 0 ? `${days}-` : ''}${parts.map((part) => String(part).padStart(2, '0')).join(':')}`;
}

/** @param number tty_nr: minor in bits 31 to 20 and 7 to 0, major in bits 15 to 8 */
export function terminalName(number: number): string {
  if (number === 0) return '?';
  const major = (number >>> 8) & 0xff;
  const minor = (number & 0xff) | ((number >>> 12) & 0xfff00);
  // Unix98 pseudo-terminals have eight majors of 256 minors, of which Linux uses the first (devices.txt).
  if (major >= 136 && major <= 143) return `pts/${(major - 136) * 256 + minor}`;
  if (major === 4) return minor < 64 ? `tty${minor}` : `ttyS${minor - 64}`;
  return major === 5 && minor === 1 ? 'console' : '?';
}

function commandOf(pid: number, name: string, isZombie: boolean): string {
  const commandLine = readKernelFile(`/proc/${pid}/cmdline`) ?? '';
  const text = commandLine === '' ? `[${name}]` : commandLine.replace(/\0+$/, '').replaceAll('\0', ' ');
  const shown = Buffer.from(text, 'latin1')
    .toString('utf8')
    .replace(/\p{Cc}/gu, '?');
  return `${fieldsOf(shown).join(' ')}${isZombie ? ' <defunct>' : ''}`;
}
