import { TareError } from '../../errors/index.ts';
import { allEnded, bestPlatform, canonical, hostPlatform } from '../../image/index.ts';
import type { Descriptor } from '../../storage/index.ts';
import type { BuilderParts, BuiltImage } from '../builder-parts.ts';
import type { ExportContext, Exporter } from '../exporter.ts';
import { Attributes } from './attributes.ts';
import { imageOptions, type MadeImage, makeImage, type PlatformImage } from './image-maker.ts';
import { type ImageNames, imageNames, storedNames } from './image-names.ts';
import { pushImage } from './push-image.ts';
import { warnOfUnknown } from './unknown-options.ts';
import { shown } from './work-status.ts';

/**
 * `image` and docker's `moby`: an image in our store, of the layers that are there. Nothing is copied or unpacked: a tar is made of
 * layers that have none, because their digest is its. With `push` it goes to its registry.
 */
export const imageExporter =
  (parts: BuilderParts, type: 'image' | 'moby'): Exporter =>
  async (source, context) => {
    const attributes = new Attributes('exporter image', context.attributes);
    const names = imageNames(attributes, source.metadata);
    const { isPushed, isByDigest, isInsecure } = pushOptions(attributes, names);
    // What nobody downloads gains nothing from being compressed.
    const options = imageOptions(attributes, source, { compression: isPushed ? 'gzip' : 'none' });
    const isStored = attributes.flag('store', true) && !(isPushed && isByDigest);
    // An image of this store is always unpacked and whole: its layers are what was built.
    attributes.flag('unpack', false);
    attributes.flag('store-allow-incomplete', false);
    // Nothing is to be loaded from anywhere.
    attributes.ignore('load');
    warnOfUnknown(attributes, context);
    await using _content = await parts.holdContent();
    const made = await makeImage(parts, source, options, names.names.map(canonical), context);
    if (isStored) await record(parts, made, names, context);
    if (isPushed) await pushImage(parts, made.root, names.names, { isByDigest, isInsecure }, context);
    const response = imageResponse(made, names.text);
    // Clients of docker compare it with the ids of images that they list.
    const id = response['containerimage.config.digest'];
    return type === 'moby' && !isPushed && id !== undefined ? { ...response, 'containerimage.digest': id } : response;
  };

/** @throws {TareError} InvalidArgument: it is to be pushed, and has no name */
export function pushOptions(attributes: Attributes, { names }: ImageNames) {
  const isPushed = attributes.flag('push', false);
  if (isPushed && names.length === 0) {
    throw new TareError('InvalidArgument', 'tag is needed when pushing to registry: set name');
  }
  return {
    isPushed,
    isByDigest: attributes.flag('push-by-digest', false),
    isInsecure: attributes.flag('registry.insecure', attributes.flag('insecure', false)),
  };
}

async function record(
  parts: BuilderParts,
  { images, index, root }: MadeImage,
  names: ImageNames,
  { progress, signal }: ExportContext,
): Promise<void> {
  for (const { layers } of images) await ensureUnpacked(parts, layers, signal);
  const texts = storedNames(names, root.digest);
  const line = `naming to ${texts.length === 0 ? root.digest : texts.join(', ')}`;
  await shown(progress, line, async () => {
    // The host's own platform has the names; the others are found through the index.
    const own = bestPlatform(images, ({ platform }) => platform, hostPlatform()) ?? images[0]!;
    await parts.images.record(built(own), {
      ...(index === undefined ? {} : { index }),
      others: images.filter((image) => image !== own).map(built),
      names: texts,
    });
  });
}

const built = ({ manifest, config, layers }: PlatformImage): BuiltImage => ({
  manifest,
  layers: layers.map(({ diffID, descriptor }) => ({ diffID, descriptor })),
  config: config.digest,
});

/** Layers whose times were rewritten are others than those that were built, and lie in no folder yet. */
async function ensureUnpacked(
  { layers, content }: Pick<BuilderParts, 'layers' | 'content'>,
  wanted: PlatformImage['layers'],
  signal: AbortSignal,
): Promise<void> {
  await allEnded(
    wanted.map(async ({ diffID, descriptor }) => {
      if (await layers.has(diffID)) return;
      await layers.apply({ path: await content.path(descriptor.digest) }, diffID, signal);
    }),
  );
}

/** What clients are told of an image; BuildKit's keys. */
export function imageResponse({ images, root }: MadeImage, name: string): Record<string, string> {
  const [image] = images;
  const isSingle = image !== undefined && root.digest === image.manifest.digest;
  const described: Descriptor = isSingle
    ? {
        ...root,
        annotations: { ...root.annotations, 'org.opencontainers.image.created': image.created },
        platform: image.platform,
      }
    : root;
  return {
    'containerimage.digest': root.digest,
    'containerimage.descriptor': Buffer.from(JSON.stringify(described)).toString('base64'),
    ...(images.length === 1 && image !== undefined ? { 'containerimage.config.digest': image.config.digest } : {}),
    ...(name === '' ? {} : { 'image.name': name }),
  };
}
