import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { startsWithEngine } from './restart-policy.ts';
import { StartOrder } from './start-order.ts';
import type { ContainerRecord } from './types.ts';

/** This very process stands for one that is alive. */
const ticks = Number(readFileSync('/proc/self/stat', 'latin1').split(') ')[1]!.split(' ')[19]);

interface Sketch {
  id: string;
  status?: string;
  isDead?: boolean;
  health?: string;
  exitCode?: number;
  network?: string;
  links?: string[];
  volumesFrom?: string[];
  service?: string;
  dependsOn?: string;
  oneOff?: boolean;
}

const record = (sketch: Sketch, index: number): ContainerRecord => {
  const { id, status = 'restarting', isDead = false, health, exitCode = 0, network = 'bridge' } = sketch;
  const project = { 'com.docker.compose.project': 'p' };
  const labels = {
    ...((sketch.service ?? sketch.dependsOn) === undefined ? {} : project),
    ...(sketch.service === undefined ? {} : { 'com.docker.compose.service': sketch.service }),
    ...(sketch.dependsOn === undefined ? {} : { 'com.docker.compose.depends_on': sketch.dependsOn }),
    ...(sketch.oneOff === true ? { 'com.docker.compose.oneoff': 'True' } : {}),
  };
  return {
    ...{ id, name: `name-${id}`, createdMs: index, config: { labels }, networking: [{ links: [] }] },
    host: {
      networkMode: network,
      pidMode: '',
      ipcMode: '',
      links: sketch.links ?? [],
      volumesFrom: sketch.volumesFrom ?? [],
    },
    state: {
      ...{ status, exitCode, startedMs: 1, pid: isDead ? 0 : process.pid, pidStartTicks: ticks },
      health: health === undefined ? null : { status: health },
    },
  } as unknown as ContainerRecord;
};

const healthy = 'db:service_healthy:true';
test.each<{ what: string; all: Sketch[]; first: string[] }>([
  { what: 'nobody needs anybody', all: [{ id: 'a' }, { id: 'b' }], first: ['a', 'b'] },
  { what: 'a shared namespace', all: [{ id: 'a', network: 'container:b' }, { id: 'b' }], first: ['b'] },
  { what: 'a link, by name', all: [{ id: 'a', links: ['/name-b:alias'] }, { id: 'b' }], first: ['b'] },
  { what: 'volumes from', all: [{ id: 'a', volumesFrom: ['b:ro'] }, { id: 'b' }], first: ['b'] },
  {
    what: 'up already',
    all: [
      { id: 'a', network: 'container:b' },
      { id: 'b', status: 'running' },
    ],
    first: ['a'],
  },
  {
    what: 'recorded as up, but dead',
    all: [
      { id: 'a', network: 'container:b' },
      { id: 'b', status: 'running', isDead: true },
    ],
    first: [],
  },
  {
    what: 'never coming',
    all: [
      { id: 'a', network: 'container:b' },
      { id: 'b', status: 'exited' },
    ],
    first: ['a without name-b'],
  },
  { what: 'gone', all: [{ id: 'a', network: 'container:nobody' }], first: ['a'] },
  { what: 'a chain', all: [{ id: 'a', links: ['b'] }, { id: 'b', links: ['c'] }, { id: 'c' }], first: ['c'] },
  {
    what: 'a circle',
    all: [
      { id: 'a', links: ['b'] },
      { id: 'b', links: ['c'] },
      { id: 'c', links: ['a'] },
    ],
    first: ['a'],
  },
  {
    what: 'behind a circle',
    all: [
      { id: 'x', links: ['b'] },
      { id: 'a', links: ['b'] },
      { id: 'b', links: ['a'] },
    ],
    first: ['a'],
  },
  { what: 'itself', all: [{ id: 'a', links: ['a'] }], first: ['a'] },
  {
    what: 'all of a service, in its project alone',
    all: [
      { id: 'a', dependsOn: 'db:service_started:false' },
      { id: 'b', service: 'db', status: 'running' },
      { id: 'c', service: 'db' },
      { id: 'd', service: 'db', oneOff: true },
    ],
    first: ['c', 'd'],
  },
  {
    what: 'not healthy yet',
    all: [
      { id: 'a', dependsOn: healthy },
      { id: 'b', service: 'db', status: 'running', health: 'starting' },
    ],
    first: [],
  },
  {
    what: 'unhealthy',
    all: [
      { id: 'a', dependsOn: healthy },
      { id: 'b', service: 'db', status: 'running', health: 'unhealthy' },
    ],
    first: [],
  },
  {
    what: 'healthy',
    all: [
      { id: 'a', dependsOn: healthy },
      { id: 'b', service: 'db', status: 'running', health: 'healthy' },
    ],
    first: ['a'],
  },
  {
    what: 'without a check',
    all: [
      { id: 'a', dependsOn: healthy },
      { id: 'b', service: 'db', status: 'running' },
    ],
    first: ['a'],
  },
  {
    what: 'done',
    all: [
      { id: 'a', dependsOn: 'job:service_completed_successfully:false' },
      { id: 'b', service: 'job', status: 'exited' },
    ],
    first: ['a'],
  },
  {
    what: 'at work still',
    all: [
      { id: 'a', dependsOn: 'job:service_completed_successfully:false' },
      { id: 'b', service: 'job', status: 'running' },
    ],
    first: [],
  },
  {
    what: 'failed',
    all: [
      { id: 'a', dependsOn: 'job:service_completed_successfully:false' },
      { id: 'b', service: 'job', status: 'exited', exitCode: 1 },
    ],
    first: ['a without name-b'],
  },
])('who may start: $what', ({ all, first }) => {
  const records = all.map(record);
  const waiting = records.filter(({ state }) => state.status === 'restarting');
  const shown = new StartOrder(records)
    .startable(waiting)
    .map(({ id, without }) => (without.length > 0 ? `${id} without ${without.join()}` : id));
  expect(shown).toEqual(first);
});

test.each([
  { policy: 'always', stopped: false, exitCode: 0, want: true },
  { policy: 'always', stopped: true, exitCode: 0, want: true },
  { policy: 'unless-stopped', stopped: false, exitCode: 0, want: true },
  { policy: 'unless-stopped', stopped: true, exitCode: 0, want: false },
  { policy: 'on-failure', stopped: false, exitCode: 1, want: true },
  { policy: 'on-failure', stopped: false, exitCode: 0, want: false },
  { policy: 'on-failure', stopped: true, exitCode: 137, want: false },
  { policy: 'on-failure', stopped: false, exitCode: 1, tries: [1, 2], want: true },
  { policy: 'on-failure', stopped: false, exitCode: 1, tries: [2, 2], want: false },
  { policy: 'no', stopped: false, exitCode: 1, want: false },
  { policy: 'always', stopped: false, exitCode: 0, status: 'created', want: false },
  { policy: 'always', stopped: false, exitCode: 0, status: 'running', want: false },
])('with the daemon: $policy, stopped $stopped, exit code $exitCode', (one) => {
  const [restartCount, maximumRetryCount] = one.tries ?? [0, 0];
  const state = {
    status: one.status ?? 'exited',
    startedMs: one.status === 'created' ? 0 : 1,
    exitCode: one.exitCode,
    stoppedByUser: one.stopped,
  };
  const host = { restartPolicy: { name: one.policy, maximumRetryCount } };
  expect(startsWithEngine({ state, host, restartCount } as never)).toBe(one.want);
});
