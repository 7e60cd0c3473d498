import { writeFile } from 'node:fs';
import { join } from 'node:path';
import { cgroupLayout, hierarchies, processCgroupDirectory } from './cgroup-layout.ts';

/**
 * Tells the kernel that a process is about to be moved into a cgroup. The first move after a pause waits for an RCU grace period
 * (5 to 25 ms: `cgroup_threadgroup_rwsem` changes hands); moves within about 20 ms of it do not. So this moves our process to
 * where it is already, in a thread, while whoever moves the other one is still on its way. One semaphore serves all hierarchies.
 *
 * Changes nothing and never fails: where it may not be done, the move takes its time.
 */
export function expectCgroupMove(): void {
  const layout = cgroupLayout();
  const controller = hierarchies(layout).at(-1)?.controller;
  if (controller === undefined) return;
  const directory = processCgroupDirectory(layout, process.pid, controller);
  if (directory !== undefined) writeFile(join(directory, 'cgroup.procs'), '0', { flag: 'r+' }, () => {});
}
