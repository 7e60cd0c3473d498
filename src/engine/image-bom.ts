import { familiar, parsePlatform } from '../image/index.ts';
import { holdContent } from './image-leases.ts';
import type { ImageParts } from './image-parts.ts';
import type { RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import type { BillOfMaterials, BomOptions, CataloguedImage } from './image-types.ts';
import { version } from './version.ts';

/** Unpacks again what a power cut took. */
export type EnsureUnpacked = (imageID: string) => Promise<unknown>;

/** See `ImageService.sbom`. */
export async function imageBom(
  parts: ImageParts,
  ensureUnpacked: EnsureUnpacked,
  ref: string,
  options: BomOptions = {},
): Promise<BillOfMaterials> {
  const { format } = options;
  const catalogued = await catalogueImage(parts, ensureUnpacked, ref, {
    ...options,
    hashesFiles: format !== undefined,
  });
  if (format === undefined) return catalogued;
  const { LicenseList, cyclonedxDocument, spdxDocument } = await import('../image/bom/index.ts');
  const { subject, catalogue, createdMs } = catalogued;
  const origin = { toolVersion: version, created: new Date(createdMs) };
  const write = format === 'spdx-json' ? spdxDocument : cyclonedxDocument;
  return { ...catalogued, document: write(subject, catalogue, origin, await LicenseList.load()) };
}

/** Reads what is installed in an image, from its unpacked layers, which stay while they are read. */
export async function catalogueImage(
  parts: ImageParts,
  ensureUnpacked: EnsureUnpacked,
  ref: string,
  options: { platform?: string; signal?: AbortSignal; hashesFiles?: boolean },
): Promise<CataloguedImage> {
  const { catalogue } = await import('../image/bom/index.ts');
  await using _lease = await holdContent(parts);
  const image = resolveImage(parts.db, ref, options.platform ? parsePlatform(options.platform) : undefined);
  await ensureUnpacked(image.id);
  using files = parts.layers.visibleFiles(image.layers.map(({ diffID }) => diffID));
  return { subject: subjectOf(image), createdMs: madeMs(image), catalogue: await catalogue(files, options) };
}

function subjectOf(image: RecordedImage): CataloguedImage['subject'] {
  const { id, manifest, config, layers, references } = image;
  const [first] = references.map(familiar).sort();
  const { architecture, os } = config;
  return { name: first ?? id, digest: manifest.digest, id, architecture, os, layers };
}

/** When a document about the image counts as made, the same at every run (reproducible-builds.org, SOURCE_DATE_EPOCH). */
function madeMs({ createdMs }: RecordedImage): number {
  const epoch = process.env['SOURCE_DATE_EPOCH'];
  const ms = epoch !== undefined && /^\d{1,12}$/.test(epoch) ? Number(epoch) * 1000 : createdMs;
  return ms >= 0 && ms < 253_402_300_800_000 ? ms : 0;
}
