import { command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { parseFilters } from '../grammar/filters.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused volumes, not just anonymous ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: { type: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  args: [0, 0],
  async run(context, options) {
    if (
      !options.force &&
      !(await confirmed(
        context,
        options.all
          ? 'This will remove all local volumes not used by at least one container.'
          : 'This will remove anonymous local volumes not used by at least one container.',
      ))
    )
      return 1;
    const client = await context.connect();
    const report = await client.json<{ VolumesDeleted: string[] | null; SpaceReclaimed: number }>(
      'POST',
      '/volumes/prune',
      {
        query: { filters: parseFilters([...options.filter, ...(options.all ? ['all=true'] : [])]) },
      },
    );
    const deleted = report.VolumesDeleted ?? [];
    if (deleted.length > 0) context.out(`Deleted Volumes:\n${deleted.join('\n')}\n\n`);
    context.out(`Total reclaimed space: ${humanSize(report.SpaceReclaimed)}\n`);
    return 0;
  },
});
