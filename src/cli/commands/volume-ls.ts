import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { formatList, type Listing } from '../output/listing.ts';
import { sortedByKey } from '../output/text.ts';
import { humanSize } from '../output/units.ts';

const listing: Listing = {
  headings: {
    Name: 'VOLUME NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    Mountpoint: 'MOUNTPOINT',
    Labels: 'LABELS',
    Label: 'LABEL',
    Links: 'LINKS',
    Size: 'SIZE',
  },
  columns: ['Driver', 'Name'],
  quiet: 'Name',
};

interface Volume {
  Name: string;
  Driver: string;
  Scope: string;
  Mountpoint: string;
  Labels: Record<string, string> | null;
  UsageData?: { Size: number; RefCount: number } | null;
}

export default command({
  usage: '[OPTIONS]',
  options: {
    filter: { type: 'list', short: 'f', value: 'filter', help: 'Provide filter values (e.g. "dangling=true")' },
    format: formatOption,
    quiet: { type: 'bool', short: 'q', help: 'Only display volume names' },
  },
  args: [0, 0],
  async run(context, options) {
    const client = await context.connect();
    const { Volumes, Warnings } = await client.json<{ Volumes: Volume[] | null; Warnings?: string[] | null }>(
      'GET',
      '/volumes',
      {
        query: { filters: parseFilters(options.filter) },
      },
    );
    for (const warning of Warnings ?? []) context.err(`WARNING: ${warning}\n`);
    const rows = (Volumes ?? [])
      .sort((a, b) => a.Name.localeCompare(b.Name, 'en', { numeric: true }))
      .map((volume) => ({
        Name: volume.Name,
        Driver: volume.Driver,
        Scope: volume.Scope,
        Mountpoint: volume.Mountpoint,
        Labels: sortedByKey(volume.Labels)
          .map(([key, value]) => `${key}=${value}`)
          .join(','),
        Label: (key = '') => volume.Labels?.[key] ?? '',
        Links: volume.UsageData ? String(volume.UsageData.RefCount) : 'N/A',
        Size: volume.UsageData ? humanSize(volume.UsageData.Size) : 'N/A',
      }));
    context.out(formatList(listing, rows, options));
    return 0;
  },
});
