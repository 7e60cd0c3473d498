import { command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { parseFilters } from '../grammar/filters.ts';
import { humanSize } from '../output/units.ts';

interface Report {
  ContainersDeleted?: string[] | null;
  NetworksDeleted?: string[] | null;
  VolumesDeleted?: string[] | null;
  ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
  SpaceReclaimed?: number;
}

export default command({
  usage: '[OPTIONS]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused images not just dangling ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "label=<key>=<value>")' },
    force: { type: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
    volumes: { type: 'bool', help: 'Prune anonymous volumes' },
  },
  args: [0, 0],
  async run(context, options) {
    const targets = [
      'all stopped containers',
      'all networks not used by at least one container',
      ...(options.volumes ? ['all anonymous volumes not used by at least one container'] : []),
      options.all ? 'all images without at least one container associated to them' : 'all dangling images',
    ];
    const warning = `This will remove:\n${targets.map((target) => `  - ${target}\n`).join('')}`;
    if (!options.force && !(await confirmed(context, warning))) return 1;
    const client = await context.connect();
    // The order matters: what goes first frees what comes after it.
    const steps: [kind: string, filters: string[]][] = [
      ['containers', options.filter],
      ['networks', options.filter],
      ...(options.volumes
        ? ([['volumes', options.filter.filter((filter) => !filter.startsWith('until='))]] as [string, string[]][])
        : []),
      ['images', [...options.filter, `dangling=${!options.all}`]],
    ];
    let reclaimed = 0;
    for (const [kind, filters] of steps) {
      const report = await client.json<Report>('POST', `/${kind}/prune`, { query: { filters: parseFilters(filters) } });
      reclaimed += report.SpaceReclaimed ?? 0;
      const images = report.ImagesDeleted?.map(({ Untagged, Deleted }) =>
        Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`,
      );
      const deleted = report.ContainersDeleted ?? report.NetworksDeleted ?? report.VolumesDeleted ?? images ?? [];
      const title = kind.charAt(0).toUpperCase() + kind.slice(1);
      if (deleted.length > 0) context.out(`Deleted ${title}:\n${deleted.join('\n')}\n\n`);
    }
    context.out(`Total reclaimed space: ${humanSize(reclaimed)}\n`);
    return 0;
  },
});
