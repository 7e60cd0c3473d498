import { command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { parseFilters } from '../grammar/filters.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: { type: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  args: [0, 0],
  async run(context, options) {
    if (!options.force && !(await confirmed(context, 'This will remove all stopped containers.'))) return 1;
    const client = await context.connect();
    const report = await client.json<{ ContainersDeleted: string[] | null; SpaceReclaimed: number }>(
      'POST',
      '/containers/prune',
      {
        query: { filters: parseFilters(options.filter) },
      },
    );
    const deleted = report.ContainersDeleted ?? [];
    if (deleted.length > 0) context.out(`Deleted Containers:\n${deleted.join('\n')}\n\n`);
    context.out(`Total reclaimed space: ${humanSize(report.SpaceReclaimed)}\n`);
    return 0;
  },
});
