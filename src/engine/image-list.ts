import { familiar, type ImageHistoryEntry, matchesFamiliar } from '../image/index.ts';
import { filterLabels, filterTime, flagFilter, refuseUnknownFilters } from './filters.ts';
import type { ImageParts } from './image-parts.ts';
import { allImages, type ImageOutline, type RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import type { Filters, HistoryEntry, ImageService, ImageSummary } from './types.ts';

const knownFilters = ['dangling', 'label', 'label!', 'before', 'since', 'reference', 'until'];

/** See `ImageService.list`. There are no intermediate images, so `all` changes nothing. */
export function listImages(
  parts: ImageParts,
  options: NonNullable<Parameters<ImageService['list']>[0]> = {},
): ImageSummary[] {
  const { filters = {}, sharedSize = false } = options;
  refuseUnknownFilters(filters, knownFilters);
  const images = allImages(parts.db);
  const uses = sharedSize ? countLayerUses(images) : undefined;
  return select(parts, images, filters).map((image) => ({
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    manifest: image.manifest,
    createdMs: image.createdMs,
    sizeBytes: image.sizeBytes,
    lastTaggedMs: image.lastTaggedMs,
    labels: image.labels,
    containers: sharedSize ? parts.containersUsing(image.id).length : -1,
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

/** See `ImageService.history`: the newest step first; only the last step is an image of its own. */
export function imageHistory(parts: ImageParts, ref: string): HistoryEntry[] {
  const image = resolveImage(parts.db, ref);
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
