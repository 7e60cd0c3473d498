import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { type FileLock, isAway, reapProcess, spawnOnHost, tryFlock } from '../linux/index.ts';
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
  let isComing = () => false;
  return () => {
    if (isComing() || keeperLives(config)) return;
    const [program = process.execPath, ...args] = config.command;
    const log = openSync(join(config.execRoot, 'keeper.log'), 'w', 0o600);
    try {
      const start = isAway() ? startOnHost : startHere;
      isComing = start(program, [...args, 'keeper', ...configArguments(config)], log);
    } finally {
      closeSync(log);
    }
  };
}

/** @returns whether it has not ended yet */
function startHere(program: string, args: readonly string[], log: number): () => boolean {
  const child = spawn(program, args, { detached: true, cwd: '/', stdio: ['ignore', log, log] });
  let failed = false;
  child.on('error', () => {
    failed = true; // The next operation tries again.
  });
  child.unref();
  return () => !failed && child.exitCode === null && child.signalCode === null;
}

/** The keeper holds ports of the host, so it must begin on the host's network. */
function startOnHost(path: string, args: readonly string[], log: number): () => boolean {
  const env = Object.entries(process.env).map(([name, value]) => `${name}=${value ?? ''}`);
  const descriptors = new Map([
    [1, log],
    [2, log],
  ]);
  const pid = spawnOnHost({ path, args, env, descriptors });
  return () => reapProcess(pid) === 'running';
}
