import { TareError } from '../errors/index.ts';
import {
  canonicalName,
  chooseInstance,
  formatPlatform,
  hostPlatform,
  type ImageConfigFile,
  type ImageDocument,
  type ImageSource,
  isImageConfigType,
  MAX_CONFIG_BYTES,
  type Manifest,
  parseImageConfig,
  parseManifest,
  verified,
} from '../image/index.ts';
import type { Descriptor, Platform } from '../storage/index.ts';

const MAX_DEPTH = 4;

/** What can be told of an image without fetching its layers. */
export interface InspectedImage {
  /** What the name stands for: an index, or the manifest. */
  root: ImageDocument;
  manifest: ImageDocument & { parsed: Manifest };
  config: Buffer;
  /** Undefined: it is no container image, and its config may be anything. */
  image: ImageConfigFile | undefined;
}

/**
 * The manifest and the config of an image, chosen for a platform where an index offers several.
 * @throws {TareError} NotFound: nothing for this platform
 */
export async function inspectSource(source: ImageSource, platform: Platform = hostPlatform()): Promise<InspectedImage> {
  const root = await source.root();
  const manifest = await chooseManifest(source, root, platform);
  const { config: descriptor } = manifest.parsed;
  const config = await readConfig(source, descriptor);
  const isImage = isImageConfigType(descriptor.mediaType);
  return { root, manifest, config, image: isImage ? parseImageConfig(config, `${source.what}: config`) : undefined };
}

async function chooseManifest(
  source: ImageSource,
  root: ImageDocument,
  platform: Platform,
): Promise<ImageDocument & { parsed: Manifest }> {
  let document = root;
  for (let depth = 0; depth <= MAX_DEPTH; depth += 1) {
    const { bytes, descriptor } = document;
    const parsed = parseManifest(bytes, `${source.what}: ${descriptor.digest}`, descriptor.mediaType);
    if (parsed.kind === 'manifest') return { ...document, parsed };
    document = await source.manifest(chooseInstance(parsed, platform, source.what));
  }
  throw new TareError(
    'InvalidArgument',
    `${source.what}: indexes inside indexes, more than ${MAX_DEPTH} deep, for ${formatPlatform(platform)}`,
  );
}

async function readConfig(source: ImageSource, descriptor: Descriptor): Promise<Buffer> {
  if (descriptor.size > MAX_CONFIG_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `${source.what}: config ${descriptor.digest} has ${descriptor.size} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
    );
  }
  const bytes = verified(source.blob(descriptor), descriptor, `${source.what}: config ${descriptor.digest}`);
  const parts: Buffer[] = [];
  for await (const chunk of bytes) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

/** What an image is called in a registry; undefined where its transport knows no names. */
export const nameOf = (source: ImageSource): string | undefined =>
  source.reference === undefined ? undefined : canonicalName(source.reference);
