import { command } from '../command.ts';
import { engineOptions, mergeEngineValues } from '../engine-options.ts';

export default command({
  usage: '[OPTIONS]',
  options: engineOptions,
  args: [0, 0],
  async run(context, options) {
    const { runKeeperHere } = await import('../local.ts');
    await runKeeperHere(mergeEngineValues(context.globals, options));
    return 0;
  },
});
