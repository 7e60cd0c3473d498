import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reconcileSteps } from '../../src/build/executor/reconcile-steps.ts';
import { listCgroups, listPids, tryFlock } from '../../src/linux/index.ts';
import { eventually } from '../support/execute.ts';
import { BuilderLab } from './builder-lab.ts';

let lab: BuilderLab;
beforeAll(async () => {
  lab = await BuilderLab.open();
});
afterAll(async () => {
  await lab[Symbol.asyncDispose]();
  lab.remove();
});

function start(script: string): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [join(import.meta.dirname, 'hold-step.ts'), lab.root, script]);
}

async function said(child: ChildProcessWithoutNullStreams, word: string): Promise<void> {
  let text = '';
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  for await (const chunk of child.stdout) {
    text += chunk;
    if (text.includes(word)) return;
  }
  throw new Error(`it never said ${word}: ${text}${errors}`);
}

const steps = () => readdirSync(lab.parts.execDirectory).filter((name) => name.startsWith('step'));
const mounts = () =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(lab.root));

test('a killed process leaves its step running, and the next one to look ends it and finds nothing', async () => {
  const child = start('sleep 1000 & echo up; cat /run/secrets/key > /c/proof; echo ready; sleep 1000');
  await said(child, 'ready');
  const alive = listPids(`/${lab.parts.instance}`);
  expect(alive.length).toBeGreaterThan(1);
  await reconcileSteps(lab.parts);
  expect(listPids(`/${lab.parts.instance}`)).toEqual(alive);
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  expect(steps()).toHaveLength(1);
  // Its cache is still locked: the step that has it runs on.
  const locks = join(lab.parts.execDirectory, 'cache-locks');
  using free = tryFlock(join(locks, readdirSync(locks)[0]!));
  expect(free).toBeUndefined();
  expect(mounts().length).toBeGreaterThan(1);
  await reconcileSteps(lab.parts);
  expect(lab.reports).toEqual([]);
  await eventually('no process is left', () => listPids(`/${lab.parts.instance}`).length === 0);
  expect(listCgroups(`/${lab.parts.instance}`)).toEqual([]);
  expect(steps()).toEqual([]);
  expect(mounts()).toEqual([]);
  await lab.parts.layers.reconcile(() => false);
  expect(await lab.parts.layers.snapshots()).toEqual([]);
  const [cache] = readdirSync(join(lab.parts.directory, 'cache-mounts'));
  expect(existsSync(join(lab.parts.directory, 'cache-mounts', cache!, 'proof'))).toBe(true);
});

test('a locked cache never has steps of two processes at once', async () => {
  const alone = 'mkdir /c/held || exit 9; sleep 0.3; rmdir /c/held; echo over';
  const children = [start(alone), start(alone), start(alone)];
  await Promise.all(children.map((child) => said(child, 'over')));
  await Promise.all(
    children.map(async (child) => {
      if (child.exitCode === null) await once(child, 'exit');
      expect(child.exitCode).toBe(0);
    }),
  );
});
