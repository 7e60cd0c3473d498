import { command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { parseFilters } from '../grammar/filters.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused images, not just dangling ones' },
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
          ? 'This will remove all images without at least one container associated to them.'
          : 'This will remove all dangling images.',
      ))
    )
      return 1;
    const client = await context.connect();
    const report = await client.json<{
      ImagesDeleted: { Untagged?: string; Deleted?: string }[] | null;
      SpaceReclaimed: number;
    }>('POST', '/images/prune', {
      query: { filters: parseFilters([...options.filter, `dangling=${!options.all}`]) },
    });
    const deleted = report.ImagesDeleted ?? [];
    const lines = deleted.map(({ Untagged, Deleted }) => (Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`));
    if (lines.length > 0) context.out(`Deleted Images:\n${lines.join('\n')}\n\n`);
    context.out(`Total reclaimed space: ${humanSize(report.SpaceReclaimed)}\n`);
    return 0;
  },
});
