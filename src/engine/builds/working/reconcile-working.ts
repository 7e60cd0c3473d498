import type { EngineParts } from '../../parts.ts';
import { settleFreeze, settleRun } from './working-deps.ts';
import { allWorking, findWorking, isMounted, keyOf } from './working-records.ts';

/**
 * Finishes commits whose process died, takes back what it made for mounts, and unmounts what it had mounted for a moment. What lives is locked
 * and left alone.
 */
export async function reconcileWorking(parts: EngineParts): Promise<void> {
  for (const { id, name } of allWorking(parts.db)) {
    using lock = parts.locks.tryAcquire(`container:${keyOf(id)}`);
    const record = lock === undefined ? undefined : findWorking(parts.db, id);
    if (record === undefined) continue;
    try {
      const settled = await settleFreeze(parts, record);
      await settleRun(parts, settled);
      if (!isMounted(settled)) parts.layers.unmount(keyOf(id));
    } catch (error) {
      parts.onError(`working container ${name}`, error);
    }
  }
}
