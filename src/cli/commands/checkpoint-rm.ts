import { resolve } from 'node:path';
import { command } from '../command.ts';
import { segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER CHECKPOINT',
  options: {
    'checkpoint-dir': {
      type: 'string',
      help: 'Use a custom checkpoint storage directory',
      completes: 'directories',
    },
  },
  args: [2, 2],
  completes: 'containers',
  async run(context, options, [container, checkpoint]) {
    const client = await context.connect();
    const directory = options['checkpoint-dir'];
    await client.json('DELETE', `/containers/${segment(container!)}/checkpoints/${segment(checkpoint!)}`, {
      query: { dir: directory && resolve(directory) },
    });
    return 0;
  },
});
