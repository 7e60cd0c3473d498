import { closeSync, readFileSync } from 'node:fs';
import { check, errno, libc, SyscallError } from './ffi.ts';

const syscall2 = libc.func('long syscall(long number, long a, long b)');
const syscall4 = libc.func('long syscall(long number, long a, long b, const void *c, long d)');
const SYS_PIDFD_SEND_SIGNAL = 424;
const SYS_PIDFD_OPEN = 434;
const ESRCH = 3;

/**
 * A descriptor that stands for a process and never for a later one with the same pid.
 *
 * @throws {SyscallError} ESRCH: no such process
 */
function openPidfd(pid: number): number {
  return Number(check(Number(syscall2(SYS_PIDFD_OPEN, pid, 0)), 'pidfd_open', String(pid)));
}

/** What /proc/PID/stat says of a process. */
export interface ProcessStat {
  /** R, S, D, T, Z, … */
  state: string;
  parentPid: number;
  /** Field 22: clock ticks from boot to the process's start; with the pid it names one process for ever. */
  startTicks: number;
}

/** @returns undefined: no such process */
export function readProcessStat(pid: number): ProcessStat | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined; // ENOENT, or ESRCH when it ended between open and read
  }
  // The command name is in parentheses and may itself hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0]!, parentPid: Number(fields[1]), startTicks: Number(fields[19]) };
}

/** Whether this very process, not a later one with its pid, still runs. A zombie has ended. */
export function isProcessAlive(pid: number, startTicks: number): boolean {
  if (pid <= 0) return false;
  const stat = readProcessStat(pid);
  return stat !== undefined && stat.startTicks === startTicks && stat.state !== 'Z' && stat.state !== 'X';
}

/**
 * Signals this very process.
 *
 * @returns false: it has ended
 */
export function signalProcess(pid: number, startTicks: number, signal: number): boolean {
  let fd: number;
  try {
    fd = openPidfd(pid);
  } catch (error) {
    if (error instanceof SyscallError && error.code === 'ESRCH') return false;
    throw error;
  }
  try {
    // The descriptor is pinned first, so the comparison holds for what it stands for.
    if (!isProcessAlive(pid, startTicks)) return false;
    const result = Number(syscall4(SYS_PIDFD_SEND_SIGNAL, fd, signal, null, 0));
    if (result === -1 && errno() === ESRCH) return false;
    check(result, 'pidfd_send_signal', String(pid));
    return true;
  } finally {
    closeSync(fd);
  }
}
