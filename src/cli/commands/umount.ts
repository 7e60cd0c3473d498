import { messageOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { UsageError } from '../grammar/usage-error.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  description: 'A working container that was mounted several times stays so until it was unmounted as often.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Unmount all working containers, however often they were mounted' },
  },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'working-containers',
  async run(context, { all }, names) {
    if (all === names.length > 0)
      throw new UsageError(all ? '--all takes no containers' : 'name a container, or say --all');
    const { withBuilds } = await import('../local/working.ts');
    return await withBuilds(context.globals, async (builds) => {
      const mounted = (await builds.workingContainers()).filter(({ mountPath }) => mountPath !== undefined);
      let code = 0;
      for (const ref of all ? mounted.map(({ id }) => id) : names) {
        try {
          const container = await builds.workingContainer(ref);
          await container.unmount({ all });
          context.out(`${container.name}\n`);
        } catch (error) {
          context.err(`tare: ${messageOf(error)}\n`);
          code = 1;
        }
      }
      return code;
    });
  },
});
