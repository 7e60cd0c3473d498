import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { makeScratch, sweepScratch } from './scratch.ts';

/** Makes a folder, has a program work in it, says both, and stays. */
const other = `
  import { spawn } from 'node:child_process';
  const { makeScratch } = await import(process.argv[1]);
  const { path } = makeScratch(process.argv[2]);
  const { pid } = spawn('sleep', ['1000'], { env: { HOME: path }, detached: true, stdio: 'ignore' });
  console.log(JSON.stringify({ path, pid }));
`;

test('a folder goes with its work, or after its process died: then what works in it ends, too', async () => {
  const root = mkdtempSync(join(tmpdir(), 'tare-scratch-'));
  try {
    await using own = makeScratch(root);
    const source = join(import.meta.dirname, 'scratch.ts');
    const child = spawn(process.execPath, ['--input-type=module', '--eval', other, source, root]);
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    const { path, pid }: { path: string; pid: number } = JSON.parse(said.toString());
    await sweepScratch(root);
    expect([own.path, path].map((each) => existsSync(each))).toEqual([true, true]);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    await sweepScratch(root);
    expect([own.path, path].map((each) => existsSync(each))).toEqual([true, false]);
    // Its parent is whoever reaps orphans: it may be a zombie for a moment, which is no process any more.
    expect(existsSync(`/proc/${pid}/exe`)).toBe(false);
    await own[Symbol.asyncDispose]();
    expect(readdirSync(join(root, 'scratch'))).toEqual([]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
