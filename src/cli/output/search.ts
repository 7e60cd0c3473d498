import type { Listing, Row } from './listing.ts';
import { ellipsis } from './text.ts';
import { printable } from './transfer-frame.ts';

/** A line of the Docker API's search. */
export interface FoundRepository {
  name: string;
  description: string;
  star_count: number;
  is_official: boolean;
  is_automated?: boolean;
}

const DESCRIPTION_WIDTH = 45;

export const searchListing: Listing = {
  headings: {
    Name: 'NAME',
    Description: 'DESCRIPTION',
    StarCount: 'STARS',
    IsOfficial: 'OFFICIAL',
    IsAutomated: 'AUTOMATED',
  },
  columns: ['Name', 'Description', 'StarCount', 'IsOfficial'],
  quiet: 'Name',
};

export function searchRow(found: FoundRepository, whole: boolean): Row {
  const description = printable(found.description ?? '');
  const ok = (is: boolean | undefined) => (is ? '[OK]' : '');
  return {
    Name: printable(found.name),
    Description: whole ? description : ellipsis(description, DESCRIPTION_WIDTH),
    StarCount: String(found.star_count),
    IsOfficial: ok(found.is_official),
    IsAutomated: ok(found.is_automated),
  };
}
