import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  AT_FDCWD,
  O_DIRECTORY,
  OpenFile,
  openAt,
  toByteString,
  tryFlock,
  unmountIfMounted,
} from '../../linux/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Tree } from '../tree.ts';

/** A tree's root, mounted read-only while it is read. */
export interface ShownTree extends AsyncDisposable {
  readonly fd: number;
}

/** Shows a tree in a folder of the builder's. What a killed process left there goes first. */
export async function showTree(
  { layers, execDirectory }: Pick<BuilderParts, 'layers' | 'execDirectory'>,
  tree: Tree,
): Promise<ShownTree> {
  const folder = join(execDirectory, 'exports');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  sweep(folder);
  await using undo = new AsyncDisposableStack();
  const target = join(folder, randomBytes(8).toString('hex'));
  // Locked before it is there: a sweep of another process takes what nobody has locked.
  undo.use(lockOf(target)!);
  mkdirSync(target, { mode: 0o700 });
  undo.defer(() => remove(target));
  undo.use(await layers.mountTree(tree.layers, target));
  const root = undo.use(new OpenFile(openAt(AT_FDCWD, toByteString(target), O_DIRECTORY)));
  const kept = undo.move();
  return { fd: root.fd, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const LOCK = '.lock';
const lockOf = (target: string) => tryFlock(`${target}${LOCK}`);

function remove(target: string): void {
  rmdirSync(target);
  rmSync(`${target}${LOCK}`, { force: true });
}

function sweep(folder: string): void {
  const names = readdirSync(folder);
  for (const name of names.filter((one) => !one.endsWith(LOCK))) {
    const target = join(folder, name);
    using lock = lockOf(target);
    if (lock === undefined) continue;
    unmountIfMounted(target);
    remove(target);
  }
}
