import type { Listing, Row } from './listing.ts';
import { ago, humanSize } from './units.ts';

/** A line of the build cache, as `GET /system/df` has it. */
export interface CacheLine {
  ID: string;
  Parents?: string[] | null;
  Type: string;
  Description: string;
  InUse: boolean;
  Shared: boolean;
  Size: number;
  CreatedAt: string;
  LastUsedAt?: string | null;
  UsageCount: number;
}

export const cacheListing: Listing = {
  headings: {
    ID: 'ID',
    Type: 'TYPE',
    Description: 'DESCRIPTION',
    Parents: 'PARENTS',
    Reclaimable: 'RECLAIMABLE',
    InUse: 'IN USE',
    Shared: 'SHARED',
    Size: 'SIZE',
    CreatedAt: 'CREATED AT',
    CreatedSince: 'CREATED',
    LastUsedAt: 'LAST USED AT',
    LastUsedSince: 'LAST ACCESSED',
    UsageCount: 'USAGE',
  },
  columns: ['ID', 'Type', 'Reclaimable', 'Size', 'LastUsedSince', 'Description'],
  quiet: 'ID',
};

export function cacheRow(line: CacheLine): Row {
  return {
    ID: line.ID,
    Type: line.Type,
    Description: line.Description,
    Parents: (line.Parents ?? []).join(','),
    Reclaimable: String(isReclaimable(line)),
    InUse: String(line.InUse),
    Shared: String(line.Shared),
    Size: `${humanSize(line.Size)}${line.Shared ? '*' : ''}`,
    CreatedAt: line.CreatedAt,
    CreatedSince: since(line.CreatedAt),
    LastUsedAt: line.LastUsedAt ?? '',
    LastUsedSince: since(line.LastUsedAt),
    UsageCount: String(line.UsageCount),
  };
}

const since = (time: string | null | undefined): string => (time ? ago(Date.parse(time)) : '');

/** Images need what is shared as well: without the cache it would stay. */
const isReclaimable = ({ InUse, Shared }: CacheLine): boolean => !(InUse || Shared);

/** Sums, by what becomes of it. */
export function cacheTotals(lines: readonly CacheLine[]) {
  const sum = (isWanted: (line: CacheLine) => boolean) =>
    lines.reduce((bytes, line) => bytes + (isWanted(line) ? line.Size : 0), 0);
  return {
    shared: sum(({ Shared }) => Shared),
    private: sum(({ Shared }) => !Shared),
    reclaimable: sum(isReclaimable),
    total: sum(() => true),
  };
}
