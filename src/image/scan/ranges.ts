import type { Affected, RangeEvent } from './osv.ts';
import type { CompareVersions } from './versions/index.ts';

const versionOf = (event: RangeEvent): string => Object.values(event)[0]!;

/** Events in the order of their versions; at the same version what begins comes before what ends. `0` is before all. */
function sorted(events: readonly RangeEvent[], compare: CompareVersions): RangeEvent[] {
  const order = (event: RangeEvent) => ('introduced' in event ? 0 : 1);
  return events.toSorted((a, b) => {
    const [x, y] = [versionOf(a), versionOf(b)];
    if (x === y) return order(a) - order(b);
    if (x === '0' || y === '0') return x === '0' ? -1 : 1;
    return compare(x, y) || order(a) - order(b);
  });
}

/** Whether a version lies in a range, whose events are in any order (OSV schema, "Evaluation"). */
export const isInRange = (version: string, events: readonly RangeEvent[], compare: CompareVersions): boolean =>
  isInSorted(version, sorted(events, compare), compare);

function isInSorted(version: string, events: readonly RangeEvent[], compare: CompareVersions): boolean {
  const limits = events.flatMap((event) => ('limit' in event && event.limit !== '*' ? [event.limit] : []));
  if (limits.length > 0 && !limits.some((limit) => compare(version, limit) < 0)) return false;
  let isAffected = false;
  for (const event of events) {
    if ('introduced' in event) {
      if (event.introduced === '0' || compare(version, event.introduced) >= 0) isAffected = true;
    } else if ('fixed' in event) {
      if (compare(version, event.fixed) >= 0) isAffected = false;
    } else if ('last_affected' in event && compare(version, event.last_affected) > 0) isAffected = false;
  }
  return isAffected;
}

/** Whether a version is affected, and the first one after it that is not. */
export function evaluate(
  version: string,
  { ranges, versions }: Affected,
  compare: CompareVersions,
): { isAffected: boolean; fixed: string | undefined } {
  const within = ranges.filter((events) => isInRange(version, events, compare));
  const isListed = versions.includes(version);
  if (within.length === 0 && !isListed) return { isAffected: false, fixed: undefined };
  const fixes = (within.length > 0 ? within : ranges)
    .flat()
    .flatMap((event) => ('fixed' in event && compare(event.fixed, version) > 0 ? [event.fixed] : []))
    .sort(compare);
  return { isAffected: true, fixed: fixes[0] };
}

/** Listed versions that no range covers: only they need to be kept. */
export function versionsBeyondRanges({ ranges, versions }: Affected, compare: CompareVersions): string[] {
  const coversAll = ranges.some(
    (events) => events.length === 1 && 'introduced' in events[0]! && events[0].introduced === '0',
  );
  if (coversAll) return [];
  const inOrder = ranges.map((events) => sorted(events, compare));
  return versions.filter((version) => !inOrder.some((events) => isInSorted(version, events, compare)));
}
