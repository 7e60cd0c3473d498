import type { EngineValues } from './engine-options.ts';
import type { ServeValues } from './local/serve.ts';
import type { holderNote, UserFolders } from './rootless.ts';

/*
 * The engine in this process: the only module of the command line that reaches it, bundled by itself and loaded only when a
 * command needs it. The web server and the keeper are loaded later still, for most commands need neither.
 */

export { LocalClient } from './local/local-client.ts';

export async function serveUntilTold(values: ServeValues, announce: (line: string) => void): Promise<void> {
  const serve = await import('./local/serve.ts');
  await serve.serveUntilTold(values, announce);
}

export async function runKeeperHere(values: EngineValues): Promise<void> {
  const keeper = await import('./local/keeper.ts');
  await keeper.runKeeperHere(values);
}

export async function makeUserNamespaces(folders: UserFolders, note: ReturnType<typeof holderNote>): Promise<number> {
  const { makeUserNamespaces: make } = await import('./local/user-namespaces.ts');
  return await make(folders, note);
}

export async function runExitCommand(values: EngineValues, id: string): Promise<void> {
  const { runExitCommand: run } = await import('./local/exit-command.ts');
  await run(values, id);
}
