import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TareError } from '../../../errors/index.ts';
import { tryFlock } from '../../../linux/index.ts';

/** Longer than any plugin may take by itself. */
const PATIENCE_MS = 90_000;

/** One attachment's plugins, one after the other. */
export interface PluginLock extends Disposable {
  /** For the plugins to inherit. */
  readonly fd: number;
}

/**
 * Waits until no plugin works on an attachment, whoever started it. Plugins inherit the lock: one whose starter was killed
 * in the middle of ADD holds it until it ends, and DEL comes after it.
 *
 * @param folder of locks, made when missing; it may go with a reboot
 * @throws {TareError} Unavailable: one does not come to an end
 */
export async function lockPlugins(folder: string, endpointId: string): Promise<PluginLock> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, endpointId);
  const deadline = Date.now() + PATIENCE_MS;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 1.5, 50)) {
    const held = tryFlock(path);
    if (held !== undefined) {
      return {
        fd: held.fd,
        [Symbol.dispose]: () => {
          rmSync(path, { force: true });
          held[Symbol.dispose]();
        },
      };
    }
    if (Date.now() > deadline) {
      throw new TareError('Unavailable', `a CNI plugin still works on endpoint ${endpointId}: end it (fuser ${path})`);
    }
    await sleep(pauseMs);
  }
}
