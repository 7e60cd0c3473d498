import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { formatList, type Listing } from '../output/listing.ts';
import { shortId, sortedByKey } from '../output/text.ts';
import { goTime } from '../output/units.ts';

const listing: Listing = {
  headings: {
    ID: 'NETWORK ID',
    Name: 'NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    IPv4: 'IPV4',
    IPv6: 'IPV6',
    Internal: 'INTERNAL',
    Labels: 'LABELS',
    Label: 'LABEL',
    CreatedAt: 'CREATED AT',
  },
  columns: ['ID', 'Name', 'Driver', 'Scope'],
  quiet: 'ID',
};

interface Network {
  Id: string;
  Name: string;
  Driver: string;
  Scope: string;
  EnableIPv4?: boolean;
  EnableIPv6: boolean;
  Internal: boolean;
  Labels: Record<string, string> | null;
  Created: string;
}

export default command({
  usage: '[OPTIONS]',
  options: {
    filter: { type: 'list', short: 'f', value: 'filter', help: 'Provide filter values (e.g. "driver=bridge")' },
    format: formatOption,
    'no-trunc': { type: 'bool', help: 'Do not truncate the output' },
    quiet: { type: 'bool', short: 'q', help: 'Only display network IDs' },
  },
  args: [0, 0],
  async run(context, options) {
    const client = await context.connect();
    const networks = await client.json<Network[]>('GET', '/networks', {
      query: { filters: parseFilters(options.filter) },
    });
    const rows = networks
      .sort((a, b) => a.Name.localeCompare(b.Name, 'en', { numeric: true }))
      .map((network) => ({
        ID: options['no-trunc'] ? network.Id : shortId(network.Id),
        Name: network.Name,
        Driver: network.Driver,
        Scope: network.Scope,
        IPv4: String(network.EnableIPv4 ?? true),
        IPv6: String(network.EnableIPv6),
        Internal: String(network.Internal),
        Labels: sortedByKey(network.Labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
        Label: (key = '') => network.Labels?.[key] ?? '',
        CreatedAt: goTime(Date.parse(network.Created)),
      }));
    context.out(formatList(listing, rows, options));
    return 0;
  },
});
