import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { formatOption } from '../format-option.ts';
import { type CacheLine, cacheRow, cacheTotals } from '../output/build-cache.ts';
import type { ContainerSummary } from '../output/containers.ts';
import type { ImageSummary } from '../output/images.ts';
import { formatList, type Listing } from '../output/listing.ts';
import { table } from '../output/table.ts';
import { ellipsis, shortId } from '../output/text.ts';
import { ago, humanSize } from '../output/units.ts';

interface Usage {
  LayersSize: number;
  /** Only newer engines say it. */
  ImageUsage?: { Reclaimable: number };
  Images: ImageSummary[] | null;
  Containers: ContainerSummary[] | null;
  BuildCache?: CacheLine[] | null;
  Volumes: { Name: string; UsageData?: { Size: number; RefCount: number } | null }[] | null;
}

const listing: Listing = {
  headings: { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' },
  columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'],
  quiet: 'Type',
};

export default command({
  usage: '[OPTIONS]',
  options: {
    format: formatOption,
    verbose: { type: 'bool', short: 'v', help: 'Show detailed information on space usage' },
  },
  args: [0, 0],
  async run(context, options) {
    if (options.verbose && options.format !== undefined)
      throw new TareError('InvalidArgument', 'the verbose and the format options conflict');
    const client = await context.connect();
    const usage = await client.json<Usage>('GET', '/system/df', { query: { reclaimable: true } });
    context.out(options.verbose ? details(usage) : formatList(listing, summary(usage), options));
    return 0;
  },
});

function summary(usage: Usage) {
  const images = usage.Images ?? [];
  const containers = usage.Containers ?? [];
  const volumes = usage.Volumes ?? [];
  const usedImages = images.filter((image) => image.Containers > 0);
  // All that older engines let us know: it takes layers that used images share for free.
  const usedBytes = usedImages.reduce((sum, image) => sum + image.Size - Math.max(0, image.SharedSize), 0);
  const estimate = Math.max(0, Math.min(usage.LayersSize, usage.LayersSize - usedBytes));
  const imageFree = usage.ImageUsage?.Reclaimable ?? estimate;
  const active = containers.filter(({ State }) => ['running', 'paused', 'restarting'].includes(State));
  const containerSize = containers.reduce((sum, { SizeRw = 0 }) => sum + SizeRw, 0);
  const containerFree = containerSize - active.reduce((sum, { SizeRw = 0 }) => sum + SizeRw, 0);
  const size = (volume: (typeof volumes)[number]) => Math.max(0, volume.UsageData?.Size ?? 0);
  const volumeSize = volumes.reduce((sum, volume) => sum + size(volume), 0);
  const usedVolumes = volumes.filter((volume) => (volume.UsageData?.RefCount ?? 0) > 0);
  const volumeFree = volumeSize - usedVolumes.reduce((sum, volume) => sum + size(volume), 0);
  const cache = usage.BuildCache ?? [];
  const cacheBytes = cacheTotals(cache);
  const usedCache = cache.filter(({ InUse }) => InUse);
  return [
    row('Images', images.length, usedImages.length, usage.LayersSize, imageFree),
    row('Containers', containers.length, active.length, containerSize, containerFree),
    row('Local Volumes', volumes.length, usedVolumes.length, volumeSize, volumeFree),
    row('Build Cache', cache.length, usedCache.length, cacheBytes.private, cacheBytes.reclaimable),
  ];
}

function row(Type: string, total: number, active: number, size: number, free: number) {
  const share = size > 0 ? ` (${Math.trunc((free / size) * 100)}%)` : '';
  return {
    Type,
    TotalCount: String(total),
    Active: String(active),
    Size: humanSize(size),
    Reclaimable: `${humanSize(free)}${share}`,
  };
}

function details(usage: Usage): string {
  const images = (usage.Images ?? []).flatMap((image) => {
    const tags = image.RepoTags?.length ? image.RepoTags : ['<none>:<none>'];
    return tags.map((tag) => {
      const colon = tag.lastIndexOf(':');
      const shared = Math.max(0, image.SharedSize);
      return [
        tag.slice(0, colon),
        tag.slice(colon + 1),
        shortId(image.Id),
        ago(image.Created * 1000),
        humanSize(image.Size),
        humanSize(shared),
        humanSize(image.Size - shared),
        String(image.Containers),
      ];
    });
  });
  const containers = (usage.Containers ?? []).map((container) => [
    shortId(container.Id),
    container.Image,
    JSON.stringify(ellipsis(container.Command, 20)),
    String((container.Mounts ?? []).filter((mount) => mount.Driver === 'local').length),
    humanSize(container.SizeRw ?? 0),
    ago(container.Created * 1000),
    container.Status,
    (container.Names ?? []).map((name) => name.replace(/^\//, '')).join(','),
  ]);
  const volumes = (usage.Volumes ?? []).map(({ Name, UsageData }) => [
    Name,
    String(UsageData?.RefCount ?? 0),
    humanSize(Math.max(0, UsageData?.Size ?? 0)),
  ]);
  const cache = usage.BuildCache ?? [];
  const cacheRows = cache.map((line) => {
    const { ID, Type, Size, CreatedSince, LastUsedSince, UsageCount, Shared } = cacheRow(line);
    return [ID, Type, Size, CreatedSince, LastUsedSince, UsageCount, Shared].map(String);
  });
  return [
    'Images space usage:\n',
    table([
      ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE', 'SHARED SIZE', 'UNIQUE SIZE', 'CONTAINERS'],
      ...images,
    ]),
    'Containers space usage:\n',
    table([['CONTAINER ID', 'IMAGE', 'COMMAND', 'LOCAL VOLUMES', 'SIZE', 'CREATED', 'STATUS', 'NAMES'], ...containers]),
    'Local Volumes space usage:\n',
    table([['VOLUME NAME', 'LINKS', 'SIZE'], ...volumes]),
    `Build cache usage: ${humanSize(cacheTotals(cache).private)}\n`,
    table([['CACHE ID', 'CACHE TYPE', 'SIZE', 'CREATED', 'LAST USED', 'USAGE', 'SHARED'], ...cacheRows]),
  ].join('\n');
}
