import type { ContainerState, Health } from '../../../engine/index.ts';
import { humanDuration, timestamp } from './time.ts';

/** inspect's `State`. A paused container is running as well, a restarting one too: so docker says it. */
export function stateOf(state: ContainerState) {
  return {
    Status: state.status,
    Running: state.status === 'running' || state.status === 'paused' || state.status === 'restarting',
    Paused: state.status === 'paused',
    Restarting: state.status === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: state.status === 'dead',
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: timestamp(state.startedMs),
    FinishedAt: timestamp(state.finishedMs),
    ...(state.health && state.health.status !== 'none' && { Health: healthOf(state.health) }),
  };
}

function healthOf(health: Health) {
  return {
    Status: health.status,
    FailingStreak: health.failingStreak,
    Log: health.log.map((entry) => ({
      Start: timestamp(entry.startMs),
      End: timestamp(entry.endMs),
      ExitCode: entry.exitCode,
      Output: entry.output,
    })),
  };
}

/** The text of ps, e.g. `Up 5 minutes (healthy)`. */
export function statusText(state: ContainerState, nowMs: number): string {
  const since = (ms: number) => humanDuration(nowMs - ms);
  switch (state.status) {
    case 'created':
      return 'Created';
    case 'paused':
      return `Up ${since(state.startedMs)} (Paused)`;
    case 'restarting':
      return `Restarting (${state.exitCode}) ${since(state.finishedMs)} ago`;
    case 'running':
      return `Up ${since(state.startedMs)}${healthText(state.health)}`;
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'exited':
      return state.finishedMs > 0 ? `Exited (${state.exitCode}) ${since(state.finishedMs)} ago` : '';
  }
}

function healthText(health: Health | null): string {
  if (!health || health.status === 'none') return '';
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`;
}
