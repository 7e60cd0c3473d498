import { readFileSync } from 'node:fs';

/** How many processes the kernel has killed for want of memory since boot, in any cgroup or for the whole machine. */
export function oomKillsSinceBoot(): number {
  return Number(/^oom_kill (\d+)$/m.exec(readFileSync('/proc/vmstat', 'latin1'))?.[1] ?? 0);
}
