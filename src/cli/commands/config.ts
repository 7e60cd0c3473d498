import { command } from '../command.ts';
import { configFlags, readConfigFlags } from '../working/config-flags.ts';

export default command({
  usage: '[OPTIONS] CONTAINER',
  description:
    'Changes the config of the image that a working container is to become. Of what can be said several times, NAME- takes one away and - all.',
  options: configFlags,
  args: [1, 1],
  completes: 'working-containers',
  async run(context, flags, [name]) {
    const { withWorking } = await import('../local/working.ts');
    await withWorking(context.globals, name!, async (container) => {
      await container.config(readConfigFlags(flags, await container.inspect()));
    });
    return 0;
  },
});
