import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { join, resolve } from 'node:path';

export const project = resolve(import.meta.dirname, '../..');
export const node = process.execPath;
/** Where the harness keeps what is slow to make. */
export const cache = join(project, '.cache');

let home: string | undefined;

/**
 * A folder with `bin/tare` and its bundles, built from the sources as they are now. It is named after their content and
 * never changes, so that tests which run beside an edit keep the program they started with.
 */
export function built(): string {
  // An installed Tare can be tested in place of the sources: TARE_HOME=/usr/local/lib/tare.
  home ??= process.env['TARE_HOME'];
  if (home !== undefined) return home;
  const hash = createHash('sha256');
  for (const path of [
    ...globSync('src/**/*.{ts,json}', { cwd: project }),
    'bin/tare',
    'scripts/build.ts',
    'package.json',
  ].sort()) {
    if (path.endsWith('.test.ts')) continue;
    hash.update(`${path}\0`).update(readFileSync(join(project, path)));
  }
  const builds = join(cache, 'test-builds');
  const wanted = join(builds, hash.digest('hex').slice(0, 16));
  if (!existsSync(wanted)) {
    mkdirSync(builds, { recursive: true });
    for (const name of readdirSync(builds)) {
      const old = join(builds, name);
      if (Date.now() - statSync(old).mtimeMs > 6 * 3600_000) rmSync(old, { recursive: true, force: true });
    }
    const draft = `${wanted}.${process.pid}`;
    mkdirSync(join(draft, 'bin'), { recursive: true });
    copyFileSync(join(project, 'bin/tare'), join(draft, 'bin/tare'));
    symlinkSync(join(project, 'node_modules'), join(draft, 'node_modules'));
    const { status, stderr } = spawnSync(node, [join(project, 'scripts/build.ts'), '--out', join(draft, 'dist')]);
    if (status !== 0) {
      rmSync(draft, { recursive: true, force: true });
      throw new Error(`the sources do not build: ${stderr.toString().slice(0, 2000)}`);
    }
    try {
      renameSync(draft, wanted);
    } catch {
      // Another test process was first with the same sources.
      rmSync(draft, { recursive: true, force: true });
    }
  }
  home = wanted;
  return home;
}
