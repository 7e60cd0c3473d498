import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { type ContainerSummary, containerListing, containerRow } from '../output/containers.ts';
import { formatList } from '../output/listing.ts';

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    filter: { type: 'list', short: 'f', value: 'filter', help: 'Filter output based on conditions provided' },
    format: formatOption,
    last: { type: 'int', short: 'n', help: 'Show n last created containers (includes all states)', default: -1 },
    latest: { type: 'bool', short: 'l', help: 'Show the latest created container (includes all states)' },
    'no-trunc': { type: 'bool', help: "Don't truncate output" },
    quiet: { type: 'bool', short: 'q', help: 'Only display container IDs' },
    size: { type: 'bool', short: 's', help: 'Display total file sizes' },
  },
  args: [0, 0],
  async run(context, options) {
    const limit = options.latest ? 1 : options.last;
    const client = await context.connect();
    const containers = await client.json<ContainerSummary[]>('GET', '/containers/json', {
      query: {
        all: options.all,
        limit: limit > 0 ? limit : undefined,
        // A template that names the size needs it measured.
        size: options.size || /\.Size\b/.test(options.format ?? ''),
        filters: parseFilters(options.filter),
      },
    });
    const rows = containers.map((container) => containerRow(container, !options['no-trunc']));
    context.out(formatList(containerListing(options.size), rows, options));
    return 0;
  },
});
