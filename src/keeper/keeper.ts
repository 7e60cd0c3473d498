import { setTimeout as sleep } from 'node:timers/promises';
import { Engine, type EngineConfig, tryBecomeKeeper } from '../engine/index.ts';
import type { Duty } from './duty.ts';
import { HealthChecks } from './health-checks.ts';
import { LogRotation } from './log-rotation.ts';
import { LogShipping } from './log-shipping.ts';
import { Names } from './names.ts';
import { PortHolder } from './port-holder.ts';
import { Restarts } from './restarts.ts';

/** Records change in bursts; looking once a burst is enough. */
const SETTLE_MS = 50;
/** Of the time, the part that looking may take while thousands of containers come and go: names are looked up by themselves. */
const LOOKING_SHARE = 1 / 3;
/** How long nothing may need the keeper before it ends. */
const IDLE_MS = 3_000;

/**
 * The living process of an engine root: names, restarts, health checks, log rotation, reserved ports. It knows nothing that is
 * not in the records, so it may be killed at any time. Returns at once when another keeper is there, and when no
 * container has needed it for a while.
 */
export async function runKeeper(config: EngineConfig, signal: AbortSignal): Promise<void> {
  const lock = tryBecomeKeeper(config);
  if (lock === undefined) return;
  using held = new DisposableStack();
  held.use(lock);
  await using engine = await Engine.open(config, { watchesExits: true, reconciles: true });
  using duties = new DisposableStack();
  const all: Duty[] = [
    new Names(engine),
    new Restarts(engine),
    new HealthChecks(engine),
    new LogRotation(engine),
    new LogShipping(engine),
    new PortHolder(engine),
  ].map((duty) => duties.use(duty));
  const stop = new AbortController();
  const ended = AbortSignal.any([signal, stop.signal]);
  const isNeeded = () => engine.needsKeeper() || all.some(({ isBusy }) => isBusy === true);
  let idle: NodeJS.Timeout | undefined;
  using _idle = { [Symbol.dispose]: () => clearTimeout(idle) };
  for await (const _ of engine.changes(ended)) {
    const begunMs = performance.now();
    engine.look(() => {
      for (const duty of all) duty.look();
    });
    if (engine.needsKeeper()) {
      clearTimeout(idle);
      idle = undefined;
    } else {
      idle ??= setTimeout(function rest() {
        // Somebody may have counted on it since the last look.
        if (!isNeeded()) stop.abort();
        // What is to be finished changes no record.
        idle = engine.needsKeeper() ? undefined : setTimeout(rest, IDLE_MS);
      }, IDLE_MS);
    }
    const lookedMs = performance.now() - begunMs;
    await sleep(Math.max(SETTLE_MS, lookedMs / LOOKING_SHARE - lookedMs), undefined, { signal: ended }).catch(() => {});
  }
  // Work that came after the last look was left to the keeper that still held the lock: it is asked for once more.
  held.dispose();
  if (!signal.aborted) engine.summonKeeper();
}
