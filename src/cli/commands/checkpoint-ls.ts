import { resolve } from 'node:path';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { formatOption } from '../format-option.ts';
import { formatList, type Listing } from '../output/listing.ts';

const listing: Listing = { headings: { Name: 'CHECKPOINT NAME' }, columns: ['Name'], quiet: 'Name' };

export default command({
  usage: '[OPTIONS] CONTAINER',
  options: {
    'checkpoint-dir': {
      type: 'string',
      help: 'Use a custom checkpoint storage directory',
      completes: 'directories',
    },
    format: formatOption,
    quiet: { type: 'bool', short: 'q', help: 'Only display names' },
  },
  args: [1, 1],
  completes: 'containers',
  async run(context, options, [container]) {
    const client = await context.connect();
    const directory = options['checkpoint-dir'];
    const rows = await client.json<{ Name: string }[]>('GET', `/containers/${segment(container!)}/checkpoints`, {
      query: { dir: directory && resolve(directory) },
    });
    context.out(formatList(listing, rows, options));
    return 0;
  },
});
