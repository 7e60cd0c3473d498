import { TareError } from '../../errors/index.ts';
import { canonical, parseImageConfig, planPush, type SavedImage, saveArchive } from '../../image/index.ts';
import type { Digest } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { ExportContext, Exporter } from '../exporter.ts';
import { Attributes } from './attributes.ts';
import { imageResponse } from './image.ts';
import { imageOptions, type MadeImage, makeImage } from './image-maker.ts';
import { type ImageNames, imageNames } from './image-names.ts';
import { warnOfUnknown } from './unknown-options.ts';
import { shown } from './work-status.ts';

/** The name by which a client offers the folder of an OCI layout. */
const STORE_ID = 'export';

/** `oci` and `docker`: one tar to the client, or with `tar=false` the blobs into a layout of its own. */
export const archiveExporter =
  (parts: BuilderParts, type: 'oci' | 'docker'): Exporter =>
  async (source, context) => {
    const attributes = new Attributes(`exporter ${type}`, context.attributes);
    const names = imageNames(attributes, source.metadata);
    if (type === 'docker' && (source.isMultiPlatform || source.parts.length > 1)) {
      throw new TareError(
        'Unsupported',
        'docker exporter does not currently support exporting manifest lists: choose oci',
      );
    }
    if (type === 'docker' && source.parts.some((part) => part.attestations.some((one) => !one.isInlineOnly))) {
      throw new TareError(
        'Unsupported',
        "docker's archives have no place for attestations: choose oci, or ask for none (--provenance=false --sbom=false)",
      );
    }
    const options = imageOptions(attributes, source, {
      ...{ compression: 'gzip', isBare: type === 'docker', hasInline: false },
    });
    const isTar = attributes.flag('tar', true);
    // Where to and what of it is the client's matter; unpacking and storing are other exporters'.
    attributes.ignore('dest', 'context', 'unpack', 'store', 'push');
    warnOfUnknown(attributes, context);
    await using _content = await parts.holdContent();
    const made = await makeImage(parts, source, options, names.names.map(canonical), context);
    if (isTar) await sendTar(parts, made, names, type, context);
    else await sendBlobs(parts, made, context);
    return imageResponse(made, names.text);
  };

async function sendTar(
  { content }: Pick<BuilderParts, 'content'>,
  made: MadeImage,
  { names }: ImageNames,
  type: 'oci' | 'docker',
  { session, exporterID, progress, signal }: ExportContext,
): Promise<void> {
  const [image] = made.images as [MadeImage['images'][number]];
  const { documents, blobs } = await planPush(content, made.root);
  const saved: SavedImage = {
    id: image.config.digest,
    manifest: image.manifest,
    config: parseImageConfig(await content.read(image.config.digest)),
    layers: image.layers.map(({ diffID, descriptor: { digest, mediaType, size } }) => ({
      ...{ diffID, digest, mediaType },
      blobBytes: size,
      unpackedBytes: 0,
    })),
    names,
    ...(made.index === undefined
      ? {}
      : { whole: { index: made.index, blobs: [...documents, ...blobs].map(({ digest }) => digest) } }),
  };
  await shown(progress, 'sending tarball', async () => {
    await using sink = await session.fileSink(exporterID, {});
    for await (const chunk of saveArchive(content, [saved], { isDocker: type === 'docker' })) {
      signal.throwIfAborted();
      await sink.write(chunk);
    }
    await sink.close();
  });
}

/** Blobs first, then what names them. The client itself writes the index of its layout. */
async function sendBlobs(
  { content }: Pick<BuilderParts, 'content'>,
  { root }: MadeImage,
  { session, progress, signal }: ExportContext,
): Promise<void> {
  const { blobs, documents } = await planPush(content, root);
  const store = session.contentStore(STORE_ID);
  const sent = new Set<Digest>();
  await shown(progress, 'copying blobs', async () => {
    for (const { digest, size } of [...blobs, ...documents]) {
      signal.throwIfAborted();
      if (sent.has(digest)) continue;
      sent.add(digest);
      await store.write(digest, { digest, sizeBytes: size }, content.open(digest));
    }
  });
}
