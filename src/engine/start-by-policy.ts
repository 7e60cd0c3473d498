import type { EngineParts } from './parts.ts';
import { startsWithEngine } from './restart-policy.ts';

/**
 * What dockerd does with restart policies when it starts: containers that rest and should not wait for their start, which is the
 * keeper's to do, in order. All are marked at once, so that none is taken for one that does not come.
 */
export async function startByPolicy(parts: Pick<EngineParts, 'db' | 'store'>): Promise<void> {
  for (const { id } of parts.store.withStatus('exited').filter(startsWithEngine)) {
    await parts.store.update(id, (current) => {
      if (!startsWithEngine(current)) return;
      current.state.status = 'restarting';
      current.state.stoppedByUser = false;
      current.state.restartAtMs = Date.now();
      current.restartCount = 0;
    });
  }
}
