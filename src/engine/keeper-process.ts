import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type FileLock, tryFlock } from '../linux/index.ts';
import { configArguments, type EngineConfig } from './config.ts';

const keeperLock = (config: EngineConfig): string => join(config.execRoot, 'keeper.lock');

/** The keeper's lock; undefined: another process is the keeper of these roots. */
export function tryBecomeKeeper(config: EngineConfig): FileLock | undefined {
  mkdirSync(config.execRoot, { recursive: true, mode: 0o700 });
  return tryFlock(keeperLock(config));
}

export function keeperLives(config: EngineConfig): boolean {
  using free = tryFlock(keeperLock(config));
  return free === undefined;
}

/** Starts a keeper unless one lives, or is on its way. It goes its own way: nobody waits for it. */
export function keeperStarter(config: EngineConfig): () => void {
  let started: ChildProcess | undefined;
  return () => {
    const isComing = started !== undefined && started.exitCode === null && started.signalCode === null;
    if (isComing || keeperLives(config)) return;
    const [program = process.execPath, ...args] = config.command;
    const log = openSync(join(config.execRoot, 'keeper.log'), 'w', 0o600);
    try {
      const child = spawn(program, [...args, 'keeper', ...configArguments(config)], {
        detached: true,
        cwd: '/',
        stdio: ['ignore', log, log],
      });
      child.on('error', () => {
        started = undefined; // The next operation tries again.
      });
      child.unref();
      started = child;
    } finally {
      closeSync(log);
    }
  };
}
