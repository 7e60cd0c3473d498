import { command } from '../command.ts';
import { prune, pruneOptions } from '../prune.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused volumes, not just anonymous ones' },
    ...pruneOptions,
  },
  args: [0, 0],
  async run(context, { all, force, filter }) {
    const warning = all
      ? 'This will remove all local volumes not used by at least one container.'
      : 'This will remove anonymous local volumes not used by at least one container.';
    return await prune(context, force, warning, [['volumes', [...filter, ...(all ? ['all=true'] : [])]]]);
  },
});
