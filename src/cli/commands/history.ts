import { command } from '../command.ts';
import { segment } from '../each.ts';
import { formatOption } from '../format-option.ts';
import { formatList, type Listing } from '../output/listing.ts';
import { ellipsis, shortId } from '../output/text.ts';
import { ago, goTime, humanSize } from '../output/units.ts';

const listing: Listing = {
  headings: {
    ID: 'IMAGE',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    CreatedBy: 'CREATED BY',
    Size: 'SIZE',
    Comment: 'COMMENT',
  },
  columns: ['ID', 'CreatedSince', 'CreatedBy', 'Size', 'Comment'],
  quiet: 'ID',
};

interface HistoryItem {
  Id: string;
  Created: number;
  CreatedBy: string;
  Size: number;
  Comment: string;
}

export default command({
  usage: '[OPTIONS] IMAGE',
  options: {
    format: formatOption,
    human: { type: 'bool', short: 'H', help: 'Print sizes and dates in human readable format', default: true },
    'no-trunc': { type: 'bool', help: "Don't truncate output" },
    platform: {
      type: 'string',
      help: 'Show history for the given platform, "os[/arch[/variant]]" (e.g., "linux/amd64")',
    },
    quiet: { type: 'bool', short: 'q', help: 'Only show image IDs' },
  },
  args: [1, 1],
  completes: 'images',
  async run(context, options, [name]) {
    const client = await context.connect();
    const items = await client.json<HistoryItem[]>('GET', `/images/${segment(name!)}/history`, {
      query: { platform: options.platform },
    });
    const rows = items.map((item) => {
      // Docker's own steps have this before the instruction.
      const by = item.CreatedBy.replaceAll('\t', ' ');
      const created = new Date(item.Created * 1000).toISOString().replace('.000', '');
      return {
        ID: options['no-trunc'] ? item.Id : shortId(item.Id),
        CreatedSince: options.human ? (item.Created > 0 ? ago(item.Created * 1000) : 'N/A') : created,
        CreatedAt: options.human ? goTime(item.Created * 1000) : created,
        CreatedBy: options['no-trunc'] ? by : ellipsis(by, 45),
        Size: options.human ? humanSize(item.Size, 3) : String(item.Size),
        Comment: item.Comment,
      };
    });
    context.out(formatList(listing, rows, options));
    return 0;
  },
});
