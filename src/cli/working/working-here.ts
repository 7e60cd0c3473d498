import type { WorkingContainer } from '../../engine/index.ts';
import { kindOf } from '../../errors/index.ts';
import type { Context } from '../command.ts';
import { namedHost } from '../transport/connect.ts';

/**
 * What a command does to a container that the engine does not know: perhaps it is a working container of this machine.
 *
 * @param refusal what the engine said
 * @throws the refusal, when there is none
 */
export async function elseWorking<T>(
  context: Context,
  name: string,
  refusal: unknown,
  work: (container: WorkingContainer) => Promise<T>,
): Promise<T> {
  if (kindOf(refusal) !== 'NotFound' || namedHost(context.globals, process.env) !== undefined) throw refusal;
  const { withBuilds } = await import('../local/working.ts');
  return await withBuilds(context.globals, async (builds) => {
    let container: WorkingContainer;
    try {
      container = await builds.workingContainer(name);
    } catch (error) {
      throw kindOf(error) === 'NotFound' ? refusal : error;
    }
    return await work(container);
  });
}
