import { catalogueImage, type EnsureUnpacked } from './image-bom.ts';
import type { ImageParts } from './image-parts.ts';
import type { ScanOptions, ScanReport } from './image-types.ts';

/** See `ImageService.scan`. */
export async function scanImage(
  parts: ImageParts,
  ensureUnpacked: EnsureUnpacked,
  ref: string,
  { database: path, cacheFolder, ...options }: ScanOptions,
): Promise<ScanReport> {
  const { VulnerabilityDatabase, findVulnerabilities } = await import('../image/scan/index.ts');
  using database = await VulnerabilityDatabase.open(path, cacheFolder, options.signal);
  const catalogued = await catalogueImage(parts, ensureUnpacked, ref, options);
  const { findings, unchecked } = findVulnerabilities(catalogued.catalogue, database);
  const { records, unreadable, firstUnreadable } = database.facts;
  return { ...catalogued, findings, unchecked, database: { path, records, unreadable, firstUnreadable } };
}
