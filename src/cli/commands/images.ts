import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { type ImageSummary, imageListing, imageRows } from '../output/images.ts';
import { formatList } from '../output/listing.ts';

export default command({
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Show all images (default hides intermediate images)' },
    digests: { type: 'bool', help: 'Show digests' },
    filter: { type: 'list', short: 'f', value: 'filter', help: 'Filter output based on conditions provided' },
    format: formatOption,
    'no-trunc': { type: 'bool', help: "Don't truncate output" },
    quiet: { type: 'bool', short: 'q', help: 'Only show image IDs' },
    tree: { type: 'bool', help: 'Not supported', hidden: true },
  },
  args: [0, 1],
  completes: 'images',
  async run(context, options, [reference]) {
    if (options.tree) throw new TareError('Unsupported', '--tree is not supported');
    const filter = [...options.filter, ...(reference === undefined ? [] : [`reference=${reference}`])];
    const client = await context.connect();
    const images = await client.json<ImageSummary[]>('GET', '/images/json', {
      query: { all: options.all, filters: parseFilters(filter) },
    });
    const digests = options.digests || /\.Digest\b/.test(options.format ?? '');
    const rows = images.flatMap((image) => imageRows(image, { short: !options['no-trunc'], digests }));
    context.out(formatList(imageListing(options.digests), rows, options));
    return 0;
  },
});
