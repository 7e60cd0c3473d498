import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const CHANGES = ['rename', 'mkdir', 'rm', 'rmdir', 'unlink', 'symlink', 'writeFile'] as const;

type Calls = Record<string, (...args: unknown[]) => unknown>;

/**
 * From now on so many changes are made to files by Node's own functions, and none after them: what a process leaves that is killed
 * there. Dispose it to go on.
 */
export function killedAfter(changes: number): Disposable & { readonly isDead: boolean } {
  let left = changes;
  const originals: [Calls, string, Calls[string]][] = [];
  for (const module of [fs, fs.promises] as unknown as Calls[]) {
    for (const name of CHANGES.flatMap((one) => [one, `${one}Sync`])) {
      const original = module[name];
      if (original === undefined) continue;
      originals.push([module, name, original]);
      module[name] = (...args) => {
        // The kernel takes a process's locks from it.
        if (/\/locks\//.test(String(args[0]))) return original.apply(module, args);
        left -= 1;
        if (left < 0) throw new Error(`killed before ${name}`);
        return original.apply(module, args);
      };
    }
  }
  syncBuiltinESMExports();
  return {
    get isDead() {
      return left < 0;
    },
    [Symbol.dispose]: () => {
      for (const [module, name, original] of originals) module[name] = original;
      syncBuiltinESMExports();
    },
  };
}
