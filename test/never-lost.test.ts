import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busybox, TestEngine } from './support/engine.ts';
import { eventually } from './support/execute.ts';
import { busyboxEntries, busyboxImage, dockerArchive } from './support/image.ts';
import { hierarchies } from './support/namespaces.ts';
import { random, seed } from './support/random.ts';
import { tar } from './support/tar.ts';

const kills = Number(process.env['TARE_KILLS'] ?? 12);

/** What the kernel and the disk hold of containers that are not among `alive`. */
async function leftovers(engine: TestEngine, alive: readonly string[]): Promise<string[]> {
  const { execRoot, dataRoot, instance } = engine;
  const owned = (text: string) => alive.some((id) => text.includes(id));
  const left: string[] = [];
  const mounts = readFileSync(`/proc/${engine.holderPid}/mountinfo`, 'utf8').split('\n');
  const below = mounts.filter((line) => line.includes(execRoot) || line.includes(dataRoot));
  const roots = below.filter((line) => /overlay/.test(line));
  if (roots.length > alive.length) left.push(`${roots.length} overlay mounts for ${alive.length} containers`);
  const namespaces = below.filter((line) => line.includes('nsfs'));
  if (namespaces.length > alive.length) left.push(`${namespaces.length} namespaces for ${alive.length} containers`);
  const links = (await engine.run(['ip', '-o', 'link'])).stdout.split('\n').filter((line) => line.includes('@'));
  if (links.length > alive.length) left.push(`${links.length} links for ${alive.length} containers`);
  const rules = (await engine.run(['nft', 'list', 'ruleset'])).stdout;
  if (alive.length === 0 && /\b18[5-9]\d\d\b/.test(rules)) left.push('elements of published ports');
  for (const hierarchy of hierarchies()) {
    const parent = join(hierarchy, instance);
    if (!existsSync(parent)) continue;
    for (const entry of readdirSync(parent, { withFileTypes: true })) {
      if (entry.isDirectory() && !owned(entry.name)) left.push(`cgroup ${parent}/${entry.name}`);
    }
  }
  for (const { command } of engine.processes()) {
    if (/\bconmon\b/.test(command) && !owned(command)) left.push(`monitor: ${command.slice(0, 200)}`);
  }
  for (const bundle of globSync('containers/*', { cwd: execRoot })) if (!owned(bundle)) left.push(`bundle ${bundle}`);
  for (const half of globSync('content/ingest/*', { cwd: dataRoot })) left.push(`half-written blob ${half}`);
  return left;
}

test(
  `the daemon is killed at ${kills} points of its work and loses nothing (seed ${seed})`,
  async () => {
    const next = random(seed);
    await using engine = await TestEngine.start({ face: 'docker' });
    const archive = join(engine.root, 'more.tar');
    const layers = [tar(busyboxEntries()), tar([{ path: 'more', content: Buffer.alloc(8e6, seed % 251) }])];
    await engine.run(['sh', '-c', 'cat > more.tar'], { input: dockerArchive({ name: 'more:test', layers }) });
    await engine.cli(['run', '-d', '--name', 'survivor', '-p', '18500:80', busybox, 'sleep', '3600']);
    const survivor = (await engine.cli(['inspect', '-f', '{{.Id}} {{.State.Pid}}', 'survivor'])).stdout.trim();
    const [survivorId] = survivor.split(' ');
    const work: ((name: string) => string[])[] = [
      (name) => ['create', '--name', name, busybox, 'true'],
      (name) => ['run', '-d', '--name', name, '-p', `18${600 + Math.floor(next() * 300)}:80`, busybox, 'sleep', '3600'],
      (name) => ['run', '--rm', '--name', name, busybox, 'true'],
      () => ['load', '--input', archive],
      () => ['rm', '-f', 'doomed'],
    ];
    for (let point = 0; point < kills; point++) {
      const name = `point-${point}`;
      await engine.cli(['run', '-d', '--name', 'doomed', busybox, 'sleep', '3600']);
      await engine.cli(['run', '-d', '--name', 'ending', busybox, 'sh', '-c', 'sleep 0.3; exit 7']);
      const args = work[point % work.length]!(name);
      const running = engine.cli(args, { expect: 'any' });
      await new Promise((resolve) => setTimeout(resolve, 15 + next() * 120));
      await engine.stopDaemon('SIGKILL');
      await running;
      await engine.serve();
      const said = `point ${point}, ${args.join(' ')}`;

      const again = await engine.cli(['inspect', '-f', '{{.Id}} {{.State.Pid}}', 'survivor']);
      expect(again.stdout.trim(), said).toBe(survivor);
      expect((await engine.cli(['wait', 'ending'])).stdout.trim(), said).toBe('7');
      const others = (await engine.cli(['ps', '-aq', '--no-trunc'])).stdout.trim().split('\n');
      await engine.cli(['rm', '-f', ...others.filter((id) => id !== survivorId)], { expect: 'any' });
      await engine.cli(['rmi', '-f', 'more:test'], { expect: 'any' });
      expect((await engine.cli(['ps', '-aq', '--no-trunc'])).stdout.trim(), said).toBe(survivorId);
      await eventually(`nothing is left after ${said}`, async () => {
        const left = await leftovers(engine, [survivorId!]);
        if (left.length > 0) throw new Error(left.join('; '));
        return true;
      });
    }
    expect((await engine.cli(['exec', 'survivor', 'echo', 'still here'])).stdout).toBe('still here\n');
    await engine.cli(['load', '--input', busyboxImage().docker]);
  },
  120_000 + kills * 15_000,
);
