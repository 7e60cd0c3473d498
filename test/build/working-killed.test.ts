import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TestEngine } from '../support/engine.ts';
import { eventually } from '../support/execute.ts';
import { random, seed } from '../support/random.ts';
import { buildLeftovers } from './build-leftovers.ts';

const kills = Number(process.env['TARE_BUILD_KILLS'] ?? 4);

test(
  `steps and commits of a working container are killed at ${kills} points: it loses nothing (seed ${seed})`,
  async () => {
    const next = random(seed);
    await using engine = await TestEngine.start({ face: 'in-process' });
    const c = (await engine.cli(['from', 'busybox:test'])).stdout.trim();
    const file = join(engine.root, 'file');
    writeFileSync(file, 'x'.repeat(2_000_000));
    const run = (script: string) => ['run', '--network', 'none', '--in', c, 'sh', '-c', script];
    /** What belongs to nobody, but for the working container's own files and layers. */
    const check = async (said: string, isGone = false) => {
      const isOwn = (line: string) => !isGone && /^(file snapshots\/working-|nobody's layer )/.test(line);
      await eventually(
        `nothing is left after ${said}`,
        async () => {
          const left = (await buildLeftovers(engine)).filter((line) => !isOwn(line));
          if (left.length > 0) throw new Error(left.slice(0, 20).join('; '));
          return true;
        },
        60_000,
      );
    };
    const startedMs = performance.now();
    await engine.cli(run('mkdir /kept && echo -1 > /kept/-1'));
    await engine.cli(['copy', c, file, '/kept/first']);
    await engine.cli(['commit', c, 'killed:test']);
    const usualMs = (performance.now() - startedMs) / 3;

    for (let point = 0; point < kills; point += 1) {
      // What must stay, whatever happens then.
      await engine.cli(run(`echo ${point} > /kept/${point}`));
      const victim = [
        ['commit', c, 'killed:test'],
        ['copy', c, file, `/copied/${point}`],
        run(`echo > /half; sleep 1`),
      ];
      const words = victim[point % 2 === 0 ? 0 : 1 + (Math.floor(point / 2) % 2)]!;
      const afterMs = next() * usualMs * 1.1;
      const said = `point ${point}, ${afterMs.toFixed(0)} of ${usualMs.toFixed(0)} ms, ${words.join(' ')}`;
      const child = engine.spawnCli(words);
      const ended = once(child, 'exit');
      await new Promise((resolve) => setTimeout(resolve, afterMs));
      child.kill('SIGKILL');
      await ended;
      await engine.cli(['ps']);
      await check(said);
      const { stdout } = await engine.cli(run('cat /kept/-1 /kept/[0-9]*; wc -c < /kept/first; cat /www/index.html'));
      const markers = ['-1', ...Array.from({ length: point + 1 }, (_, index) => String(index)).sort()];
      expect(stdout.split('\n'), said).toEqual([...markers, '2000000', 'Hello from Tare', '']);
    }
    await engine.cli(['commit', '--rm', c, 'killed:test']);
    const made = await engine.cli(['run', '--rm', '--network', 'none', 'killed:test', 'ls', '/kept']);
    expect(made.stdout.split('\n').length).toBe(kills + 3);
    await engine.cli(['rmi', '--force', 'killed:test']);
    await engine.cli(['image', 'prune', '--all', '--force']);
    await check('all is removed', true);
  },
  60_000 + kills * 20_000,
);
