import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestEngine } from './engine.ts';
import { eventually } from './execute.ts';
import { hierarchies } from './namespaces.ts';

/**
 * What a machine's restart leaves of an engine: no process, mount, link or run-time file, and another boot id. The data
 * root stays. The next `serve` is the first of the new boot.
 */
export async function restartMachine(engine: TestEngine): Promise<void> {
  await engine.stopDaemon('SIGKILL');
  await eventually('all processes ended', () => {
    // Monitors and the keeper first: they would note the ends of the others.
    const own = engine.processes().map(({ pid }) => pid);
    const pids = own.length > 0 ? own : contained(engine.instance);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    return pids.length === 0;
  });
  const mounted = `awk -v root='${engine.root}/' 'index($5, root) == 1 { print $5 }' /proc/self/mountinfo | tac`;
  const links = "ip -o link | sed -n 's/^[0-9]*: \\([^:@]*\\).*/\\1/p' | grep -v '^lo$'";
  await engine.run([
    'sh',
    '-c',
    `${mounted} | xargs -r -n 1 umount -l; ${links} | xargs -r -n 1 ip link del 2>/dev/null; :`,
  ]);
  for (const entry of readdirSync(engine.execRoot))
    rmSync(join(engine.execRoot, entry), { recursive: true, force: true });
  const bootID = join(engine.root, 'boot-id');
  writeFileSync(bootID, `${randomUUID()}\n`);
  const known = '/proc/sys/kernel/random/boot_id';
  await engine.run(['sh', '-c', `umount ${known} 2>/dev/null; mount --bind ${bootID} ${known}`]);
  rmSync(bootID);
}

/** Processes in the engine's cgroups. */
function contained(instance: string): number[] {
  const pids = hierarchies().flatMap((hierarchy) => {
    const top = `${hierarchy}/${instance}`;
    if (!existsSync(top)) return [];
    return readdirSync(top, { recursive: true, withFileTypes: true })
      .filter(({ name }) => name === 'cgroup.procs')
      .flatMap(({ parentPath }) =>
        readFileSync(`${parentPath}/cgroup.procs`, 'utf8').split('\n').filter(Boolean).map(Number),
      );
  });
  return [...new Set(pids)];
}
