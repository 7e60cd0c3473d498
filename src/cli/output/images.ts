import type { Listing, Row } from './listing.ts';
import { shortId } from './text.ts';
import { ago, goTime, humanSize } from './units.ts';

/** The Docker API's ImageSummary, as far as it is shown. */
export interface ImageSummary {
  Id: string;
  RepoTags: string[] | null;
  RepoDigests: string[] | null;
  Created: number;
  Size: number;
  SharedSize: number;
  Containers: number;
  Labels: Record<string, string> | null;
}

export function imageListing(digests: boolean): Listing {
  return {
    headings: {
      ID: 'IMAGE ID',
      Repository: 'REPOSITORY',
      Tag: 'TAG',
      Digest: 'DIGEST',
      CreatedSince: 'CREATED',
      CreatedAt: 'CREATED AT',
      Size: 'SIZE',
      Containers: 'CONTAINERS',
      VirtualSize: 'SIZE',
      SharedSize: 'SHARED SIZE',
      UniqueSize: 'UNIQUE SIZE',
    },
    columns: ['Repository', 'Tag', ...(digests ? ['Digest'] : []), 'ID', 'CreatedSince', 'Size'],
    quiet: 'ID',
  };
}

/** A row for each name of an image; one without a name has `<none>`. */
export function imageRows(image: ImageSummary, options: { short: boolean; digests: boolean; nowMs?: number }): Row[] {
  const count = (value: number) => (value < 0 ? 'N/A' : String(value));
  const size = (value: number) => (value < 0 ? 'N/A' : humanSize(value, 3));
  const common = {
    ID: options.short ? shortId(image.Id) : image.Id,
    CreatedSince: ago(image.Created * 1000, options.nowMs),
    CreatedAt: goTime(image.Created * 1000),
    Size: humanSize(image.Size, 3),
    VirtualSize: humanSize(image.Size, 3),
    Containers: count(image.Containers),
    SharedSize: size(image.SharedSize),
    UniqueSize: image.SharedSize < 0 ? 'N/A' : humanSize(image.Size - image.SharedSize, 3),
  };
  return names(image, options.digests).map((name) => ({ ...name, ...common }));
}

interface Name {
  Repository: string;
  Tag: string;
  Digest: string;
}

function names(image: ImageSummary, digests: boolean): Name[] {
  const tags = (image.RepoTags ?? []).filter((tag) => tag !== '<none>:<none>');
  const byDigest = (image.RepoDigests ?? [])
    .map((text) => text.split('@') as [string, string])
    .filter(([, digest]) => digest !== '<none>');
  const rows: Name[] = [];
  const seen = new Set<string>();
  for (const tag of tags) {
    const colon = tag.lastIndexOf(':');
    const [Repository, Tag] = [tag.slice(0, colon), tag.slice(colon + 1)];
    const own = digests ? byDigest.filter(([repository]) => repository === Repository) : [];
    seen.add(Repository);
    if (own.length === 0) rows.push({ Repository, Tag, Digest: '<none>' });
    for (const [, Digest] of own) rows.push({ Repository, Tag, Digest });
  }
  for (const [Repository, Digest] of byDigest)
    if (!seen.has(Repository) && (digests || tags.length === 0)) {
      if (!digests) seen.add(Repository);
      rows.push({ Repository, Tag: '<none>', Digest });
    }
  return rows.length > 0 ? rows : [{ Repository: '<none>', Tag: '<none>', Digest: '<none>' }];
}
