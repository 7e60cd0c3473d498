import { resolve } from 'node:path';
import { command } from '../command.ts';
import { segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER CHECKPOINT',
  description:
    "Writes memory and open files of a container's processes to disk through CRIU, and ends it; 'start --checkpoint' takes it up again.",
  options: {
    'checkpoint-dir': {
      type: 'string',
      help: 'Use a custom checkpoint storage directory',
      completes: 'directories',
    },
    'leave-running': { type: 'bool', help: 'Leave the container running after checkpoint' },
    'tcp-established': {
      type: 'bool',
      help: 'Keep open TCP connections; without it a container that has some is refused',
    },
  },
  args: [2, 2],
  completes: 'running-containers',
  async run(context, options, [container, checkpoint]) {
    const client = await context.connect();
    const directory = options['checkpoint-dir'];
    await client.json('POST', `/containers/${segment(container!)}/checkpoints`, {
      body: {
        CheckpointID: checkpoint,
        CheckpointDir: directory === undefined ? '' : resolve(directory),
        Exit: !options['leave-running'],
        TCPEstablished: options['tcp-established'],
      },
    });
    context.out(`${checkpoint}\n`);
    return 0;
  },
});
