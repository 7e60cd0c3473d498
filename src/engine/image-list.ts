import { familiar, type ImageHistoryEntry, matchesFamiliar, parsePlatform } from '../image/index.ts';
import { filterLabels, filterTime, flagFilter, refuseUnknownFilters } from './filters.ts';
import { manifestsOf } from './image-manifests.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, type ImageOutline, type RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import { parentOf } from './image-uses.ts';
import type { Filters, HistoryEntry, ImageService, ImageSummary, ImageView } from './types.ts';

const knownFilters = ['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until'];

/** See `ImageService.list`. There are no intermediate images, so `all` changes nothing. */
export async function listImages(
  parts: ImageParts,
  options: NonNullable<Parameters<ImageService['list']>[0]> = {},
): Promise<ImageSummary[]> {
  const { filters = {}, sharedSize = false, manifests = false } = options;
  refuseUnknownFilters(filters, knownFilters);
  const images = allImages(parts.db);
  const uses = sharedSize ? countLayerUses(images) : undefined;
  const chosen = select(parts, images, filters);
  const containers = parts.countContainers();
  const listed = manifests ? await Promise.all(chosen.map((image) => manifestsOf(parts, image))) : [];
  return chosen.map((image, position) => ({
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    manifest: image.manifest,
    ...(image.index === undefined ? {} : { index: image.index }),
    ...(listed[position] === undefined ? {} : { manifests: listed[position] }),
    createdMs: image.createdMs,
    sizeBytes: image.sizeBytes,
    lastTaggedMs: image.lastTaggedMs,
    labels: image.labels,
    containers: containers.get(image.id) ?? 0,
    sharedSizeBytes: uses === undefined ? -1 : sharedBytes(image, uses),
  }));
}

function select(parts: ImageParts, images: ImageOutline[], filters: Filters): ImageOutline[] {
  const isDangling = flagFilter(filters, 'dangling');
  const before = (filters['before'] ?? []).map((ref) => resolveImage(parts.db, ref).createdMs);
  const since = (filters['since'] ?? []).map((ref) => resolveImage(parts.db, ref).createdMs);
  return images
    .filter((image) => isDangling === undefined || isDangling === (image.repoTags.length === 0))
    .filter((image) => before.every((createdMs) => image.createdMs < createdMs))
    .filter((image) => since.every((createdMs) => image.createdMs > createdMs))
    .filter((image) => filterTime(filters, image.createdMs))
    .filter((image) => filterLabels(filters, image.labels))
    .flatMap((image) => withMatchingNames(image, filters['reference']));
}

/** An image with those of its names that a pattern matches; none if no name does. */
function withMatchingNames(image: ImageOutline, patterns: string[] | undefined): ImageOutline[] {
  if (patterns === undefined || patterns.length === 0) return [image];
  const names = image.references.filter((name) => patterns.some((pattern) => matchesFamiliar(pattern, name)));
  if (names.length === 0) return [];
  const matching = new Set(names.map(familiar));
  return [
    {
      ...image,
      repoTags: image.repoTags.filter((tag) => matching.has(tag)),
      repoDigests: image.repoDigests.filter((digest) => matching.has(digest)),
    },
  ];
}

function countLayerUses(images: readonly ImageOutline[]): Map<string, number> {
  const uses = new Map<string, number>();
  for (const { layers } of images) {
    for (const diffID of new Set(layers.map((layer) => layer.diffID))) uses.set(diffID, (uses.get(diffID) ?? 0) + 1);
  }
  return uses;
}

const sharedBytes = (image: ImageOutline, uses: Map<string, number>): number =>
  image.layers
    .filter(({ diffID }) => (uses.get(diffID) ?? 0) > 1)
    .reduce((total, { unpackedBytes }) => total + unpackedBytes, 0);

/** See `ImageService.inspect`. */
export async function inspectImage(
  parts: ImageParts,
  ...[ref, options = {}]: Parameters<ImageService['inspect']>
): Promise<ImageView> {
  const platform = options.platform ? parsePlatform(options.platform) : undefined;
  const image = resolveImage(parts.db, ref, platform);
  const diffIDs = image.layers.map(({ diffID }) => diffID);
  const parent = parentOf(parts.db, image.id);
  const isUnpacked = parts.layers.missing(diffIDs).length === 0;
  return {
    ...image,
    ...(parent === undefined ? {} : { parent }),
    driver: parts.layers.driver,
    layerFolders: isUnpacked ? diffIDs.map((diffID) => parts.layers.folder(diffID)).reverse() : [],
    ...(options.manifests ? { manifests: await manifestsOf(parts, image) } : {}),
  };
}

/** See `ImageService.history`: the newest step first; only the last step is an image of its own. */
export function imageHistory(parts: ImageParts, ref: string, options: { platform?: string } = {}): HistoryEntry[] {
  const image = resolveImage(parts.db, ref, options.platform ? parsePlatform(options.platform) : undefined);
  let layer = 0;
  const entries = stepsOf(image).map((step) => {
    const sizeBytes = step.empty_layer ? 0 : (image.layers[layer++]?.unpackedBytes ?? 0);
    return {
      id: '<missing>',
      createdMs: step.created === undefined ? 0 : Date.parse(step.created),
      createdBy: step.created_by ?? '',
      tags: [] as string[],
      sizeBytes,
      comment: step.comment ?? '',
    };
  });
  entries.reverse();
  if (entries[0] !== undefined) Object.assign(entries[0], { id: image.id, tags: image.repoTags });
  return entries;
}

/** An image that tells no history still has its layers. */
const stepsOf = ({ config, layers }: RecordedImage): ImageHistoryEntry[] =>
  config.history ?? layers.map(() => (config.created === undefined ? {} : { created: config.created }));
