import { command } from '../command.ts';
import { prune, pruneOptions } from '../prune.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused images, not just dangling ones' },
    ...pruneOptions,
  },
  args: [0, 0],
  async run(context, { all, force, filter }) {
    const warning = all
      ? 'This will remove all images without at least one container associated to them.'
      : 'This will remove all dangling images.';
    return await prune(context, force, warning, [['images', [...filter, `dangling=${!all}`]]]);
  },
});
