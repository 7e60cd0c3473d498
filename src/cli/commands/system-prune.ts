import { command } from '../command.ts';
import { type PruneStep, prune, pruneOptions } from '../prune.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    ...pruneOptions,
    all: { type: 'bool', short: 'a', help: 'Remove all unused images not just dangling ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "label=<key>=<value>")' },
    volumes: { type: 'bool', help: 'Prune anonymous volumes' },
  },
  args: [0, 0],
  async run(context, { all, filter, force, volumes }) {
    const targets = [
      'all stopped containers',
      'all networks not used by at least one container',
      ...(volumes ? ['all anonymous volumes not used by at least one container'] : []),
      all ? 'all images without at least one container associated to them' : 'all dangling images',
      all ? 'all build cache' : 'unused build cache',
    ];
    const warning = `This will remove:\n${targets.map((target) => `  - ${target}\n`).join('')}`;
    // The order matters: what goes first frees what comes after it.
    const steps: PruneStep[] = [
      ['containers', filter],
      ['networks', filter],
    ];
    if (volumes) steps.push(['volumes', filter.filter((text) => !text.startsWith('until='))]);
    steps.push(['images', [...filter, `dangling=${!all}`]], ['build', filter, { all: String(all) }]);
    return await prune(context, force, warning, steps);
  },
});
