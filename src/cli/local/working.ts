import type { Engine, WorkingContainer } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';

/** Does something with the engine's builds in this process: no daemon has working containers for its clients. */
export async function withBuilds<T>(globals: GlobalValues, work: (builds: Engine['builds']) => Promise<T>): Promise<T> {
  await using engine = await openEngineHere(globals);
  return await work(engine.builds);
}

/** The same with one working container. @throws {TareError} NotFound */
export async function withWorking<T>(
  globals: GlobalValues,
  name: string,
  work: (container: WorkingContainer) => Promise<T>,
): Promise<T> {
  return await withBuilds(globals, async (builds) => await work(await builds.workingContainer(name)));
}
