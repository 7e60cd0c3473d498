import { canonical, parseAnyReference, type Reference, withDefaultTag } from '../image/index.ts';
import type { Signature, SignedManifest } from '../image/trust/index.ts';
import type { ContentStore } from '../storage/index.ts';
import { holdContent } from './image-leases.ts';
import { parseOrigin } from './image-origin.ts';
import type { ImageParts } from './image-parts.ts';
import { addSignatures, type RecordedImage } from './image-records.ts';
import { resolveImage } from './image-resolve.ts';
import type { SignedImage } from './image-types.ts';

/** See `ImageService.signed`. */
export async function signedImage({ db, content }: ImageParts, ref: string): Promise<SignedImage> {
  const image = resolveImage(db, ref);
  const reference = nameOf(image, ref);
  return {
    ...(reference === undefined ? {} : { reference }),
    root: image.index ?? image.manifest,
    manifests: manifestsOf(content, image),
    signatures: await keptSignatures(content, image),
    origins: image.origins.map(parseOrigin),
  };
}

function nameOf(image: RecordedImage, ref: string): Reference | undefined {
  const parsed = parseAnyReference(ref);
  const said = 'id' in parsed ? undefined : canonical(withDefaultTag(parsed.name));
  return image.references.find((name) => canonical(name) === said) ?? image.references[0];
}

/** The documents of which a signature may be: the manifest, and the index that it was chosen from. */
export function manifestsOf(
  content: Pick<ContentStore, 'read'>,
  { manifest, index }: Pick<RecordedImage, 'manifest' | 'index'>,
): SignedManifest[] {
  return [manifest, ...(index === undefined ? [] : [index])].map(({ digest }) => ({
    digest,
    bytes: () => content.read(digest),
  }));
}

/** Signatures that were kept with an image. */
export async function keptSignatures(
  content: Pick<ContentStore, 'read'>,
  { signatures }: Pick<RecordedImage, 'signatures'>,
): Promise<Signature[]> {
  const { decodeSignature, isSignatureType } = await import('../image/trust/index.ts');
  const found: Signature[] = [];
  for (const { mediaType, digest } of signatures) {
    if (isSignatureType(mediaType)) found.push(decodeSignature(mediaType, await content.read(digest)));
  }
  return found;
}

/** See `ImageService.addSignature`. */
export async function addSignature(parts: ImageParts, ref: string, signature: Signature): Promise<void> {
  const { keepSignatures } = await import('../image/trust/index.ts');
  await using _lease = await holdContent(parts);
  const kept = await keepSignatures(parts.content, [signature]);
  await parts.db.write((tx) => {
    addSignatures(tx, resolveImage(tx, ref).id, kept);
  });
}
