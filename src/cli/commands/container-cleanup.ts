import { command } from '../command.ts';
import { engineOptions, mergeEngineValues } from '../engine-options.ts';

export default command({
  usage: '[OPTIONS] ID',
  options: engineOptions,
  args: [1, 1],
  async run(context, options, [id]) {
    const { runExitCommand } = await import('../local.ts');
    await runExitCommand(mergeEngineValues(context.globals, options), id!);
    return 0;
  },
});
