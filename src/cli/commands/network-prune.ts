import { command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { parseFilters } from '../grammar/filters.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: { type: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
  },
  args: [0, 0],
  async run(context, options) {
    if (
      !options.force &&
      !(await confirmed(context, 'This will remove all custom networks not used by at least one container.'))
    )
      return 1;
    const client = await context.connect();
    const report = await client.json<{ NetworksDeleted: string[] | null }>('POST', '/networks/prune', {
      query: { filters: parseFilters(options.filter) },
    });
    const deleted = report.NetworksDeleted ?? [];
    if (deleted.length > 0) context.out(`Deleted Networks:\n${deleted.join('\n')}\n\n`);
    return 0;
  },
});
