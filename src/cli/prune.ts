import type { Context } from './command.ts';
import { confirmed } from './confirm.ts';
import { parseCacheFilters } from './grammar/cache-filters.ts';
import { parseFilters } from './grammar/filters.ts';
import type { Options } from './option.ts';
import { humanSize } from './output/units.ts';

export type PrunedKind = 'containers' | 'images' | 'networks' | 'volumes' | 'build';

/** One request: what, which, and what else is asked. */
export type PruneStep = readonly [
  kind: PrunedKind,
  filters: readonly string[],
  query?: Readonly<Record<string, string>>,
];

/** The answer to `POST /KIND/prune`; each kind fills in its own part. */
interface Report {
  ContainersDeleted?: string[] | null;
  NetworksDeleted?: string[] | null;
  VolumesDeleted?: string[] | null;
  CachesDeleted?: string[] | null;
  ImagesDeleted?: { Untagged?: string; Deleted?: string }[] | null;
  SpaceReclaimed?: number;
}

/** Options of every command that removes what is unused. */
export const pruneOptions = {
  filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
  force: { type: 'bool', short: 'f', help: 'Do not prompt for confirmation' },
} as const satisfies Options;

/**
 * Removes what is unused, a kind after the other, and prints what went.
 *
 * @param force does not ask first
 * @param warning says what will go
 * @returns exit code: 1 when the answer was no
 */
export async function prune(
  context: Context,
  force: boolean,
  warning: string,
  steps: readonly PruneStep[],
): Promise<number> {
  if (!force && !(await confirmed(context, warning))) return 1;
  const client = await context.connect();
  let reclaimed = 0;
  for (const [kind, given, more] of steps) {
    const filters = kind === 'build' ? parseCacheFilters(given) : parseFilters(given);
    const report = await client.json<Report>('POST', `/${kind}/prune`, { query: { filters, ...more } });
    reclaimed += report.SpaceReclaimed ?? 0;
    const deleted = deletedOf(report);
    const title = kind === 'build' ? 'build cache objects' : kind.charAt(0).toUpperCase() + kind.slice(1);
    if (deleted.length > 0) context.out(`Deleted ${title}:\n${deleted.join('\n')}\n\n`);
  }
  // Networks take no space.
  if (steps.some(([kind]) => kind !== 'networks')) context.out(`Total reclaimed space: ${humanSize(reclaimed)}\n`);
  return 0;
}

function deletedOf(report: Report): string[] {
  const { ContainersDeleted, NetworksDeleted, VolumesDeleted, ImagesDeleted, CachesDeleted } = report;
  const images = ImagesDeleted?.map(({ Untagged, Deleted }) =>
    Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`,
  );
  return ContainersDeleted ?? NetworksDeleted ?? VolumesDeleted ?? CachesDeleted ?? images ?? [];
}
