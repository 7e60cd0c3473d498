import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseCacheFilters } from '../grammar/cache-filters.ts';
import { type CacheLine, cacheListing, cacheRow, cacheTotals } from '../output/build-cache.ts';
import { formatList } from '../output/listing.ts';
import { table } from '../output/table.ts';
import { humanSize } from '../output/units.ts';

export default command({
  usage: '[OPTIONS]',
  description:
    'What is shared with images (*) stays on disk without the cache. Filters: id, type, description, parent, inuse, shared, private, mutable, immutable, until; with =, != or ~= (a regular expression).',
  options: {
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "type=exec.cachemount")' },
    format: formatOption,
    verbose: { type: 'bool', help: 'Show all that is known of each object' },
  },
  args: [0, 0],
  async run(context, { filter, format, verbose }) {
    if (verbose && format !== undefined)
      throw new TareError('InvalidArgument', 'the verbose and the format options conflict');
    const filters = parseCacheFilters(filter);
    const client = await context.connect();
    const query = { type: 'build-cache', ...(filters === undefined ? {} : { filters }) };
    const { BuildCache } = await client.json<{ BuildCache: CacheLine[] | null }>('GET', '/system/df', { query });
    const lines = BuildCache ?? [];
    if (verbose) context.out(lines.map((line) => `${details(line)}\n`).join(''));
    else context.out(formatList(cacheListing, lines.map(cacheRow), { ...(format === undefined ? {} : { format }) }));
    if (format !== undefined && !format.startsWith('table')) return 0;
    const totals = cacheTotals(lines);
    const shown = [
      ...(totals.shared > 0 ? [['Shared:', totals.shared] as const, ['Private:', totals.private] as const] : []),
      ['Reclaimable:', totals.reclaimable] as const,
      ['Total:', totals.total] as const,
    ];
    context.out(table(shown.map(([name, bytes]) => [name, humanSize(bytes)])));
    return 0;
  },
});

function details(line: CacheLine): string {
  const row = cacheRow(line);
  const fields: [string, string][] = [
    ['ID:', line.ID],
    ...(line.Parents?.length ? [['Parents:', line.Parents.join(', ')] as [string, string]] : []),
    ['Created at:', line.CreatedAt],
    ['Reclaimable:', String(row['Reclaimable'])],
    ['In use:', String(line.InUse)],
    ['Shared:', String(line.Shared)],
    ['Size:', humanSize(line.Size)],
    ...(line.Description === '' ? [] : [['Description:', line.Description] as [string, string]]),
    ['Usage count:', String(line.UsageCount)],
    ...(line.LastUsedAt ? [['Last used:', String(row['LastUsedSince'])] as [string, string]] : []),
    ['Type:', line.Type],
  ];
  return table(fields);
}
