import { command } from '../command.ts';
import { prune, pruneOptions } from '../prune.ts';

export default command({
  usage: '[OPTIONS]',
  options: pruneOptions,
  args: [0, 0],
  run: (context, { force, filter }) =>
    prune(context, force, 'This will remove all stopped containers.', [['containers', filter]]),
});
