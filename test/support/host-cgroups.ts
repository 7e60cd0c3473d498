import { rmdirSync } from 'node:fs';
import { completeHybridCgroups, MNT_DETACH, mountTable, unmount } from '../../src/linux/index.ts';

const hierarchies = (): string[] =>
  mountTable()
    .filter(({ type }) => type === 'cgroup')
    .map(({ path }) => path);

/**
 * Vitest's global setup. An engine mounts the cgroup hierarchies that a hybrid host misses, and in a test's own namespaces
 * they would be gone with it, for the engines beside it too: so the host has them for as long as the tests run.
 */
export default function setup(): () => void {
  const before = hierarchies();
  completeHybridCgroups();
  const added = hierarchies().filter((path) => !before.includes(path));
  return () => {
    for (const path of added) {
      unmount(path, MNT_DETACH);
      try {
        rmdirSync(path);
      } catch {
        // Somebody else's folders lie beneath the mount: not ours to remove.
      }
    }
  };
}
