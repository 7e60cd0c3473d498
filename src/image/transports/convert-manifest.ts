import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, digestOf } from '../../storage/index.ts';
import { configTypeOf, formatOf, indexTypeOf, type ManifestFormat, manifestTypeOf } from './layer-types.ts';

/** A document to store: its bytes, and what names them. */
export interface NewDocument {
  mediaType: string;
  bytes: Buffer;
}

type Json = Record<string, unknown>;

/**
 * A manifest with other layers or in the other format. What the format knows stays, annotations go where docker's has no
 * place for them. The config's bytes stay: both formats have the same.
 *
 * @param original checked by `parseManifest`, of an image
 * @param layers as many as the original has
 * @throws {TareError} Unsupported: the manifest says something that docker's format cannot
 */
export function convertManifest(
  original: NewDocument,
  format: ManifestFormat,
  layers: readonly Descriptor[],
  what: string,
): NewDocument {
  const document = JSON.parse(original.bytes.toString('utf8')) as Json & { config: Json; layers?: Json[] };
  const mediaType = manifestTypeOf(format);
  const config = formatOf(original.mediaType) === format ? document.config['mediaType'] : configTypeOf(format);
  const converted: Json = {
    ...document,
    mediaType,
    config: { ...document.config, mediaType: config },
    layers: layers.map(({ mediaType: type, digest, size }, index) => ({
      ...document.layers?.[index],
      ...{ mediaType: type, digest, size },
    })),
  };
  if (format === 'v2s2') {
    for (const key of ['subject', 'artifactType']) {
      if (key in document) {
        throw new TareError('Unsupported', `${what}: docker's schema 2 has no ${key}: copy it with --format oci`);
      }
    }
    delete converted['annotations'];
    for (const part of [converted['config'] as Json, ...(converted['layers'] as Json[])]) delete part['annotations'];
  }
  return { mediaType, bytes: encode(converted) };
}

/**
 * An index whose entries changed. Provenance names its image by digest in an annotation, which follows.
 *
 * @param changed new descriptors by the old digest
 */
export function convertIndex(
  original: NewDocument,
  format: ManifestFormat,
  changed: ReadonlyMap<Digest, Descriptor>,
): NewDocument {
  const document = JSON.parse(original.bytes.toString('utf8')) as Json & { manifests?: Json[] };
  const mediaType = indexTypeOf(format);
  const converted: Json = {
    ...document,
    mediaType,
    manifests: (document.manifests ?? []).map((entry) => convertEntry(entry, format, changed)),
  };
  if (format === 'v2s2') delete converted['annotations'];
  return { mediaType, bytes: encode(converted) };
}

function convertEntry(entry: Json, format: ManifestFormat, changed: ReadonlyMap<Digest, Descriptor>): Json {
  const now = changed.get(entry['digest'] as Digest);
  const result: Json = { ...entry };
  if (now !== undefined) Object.assign(result, { mediaType: now.mediaType, digest: now.digest, size: now.size });
  if (format === 'v2s2') delete result['annotations'];
  const annotations = result['annotations'] as Record<string, string> | undefined | null;
  const subject = annotations?.[provenanceOf];
  const moved = subject === undefined ? undefined : changed.get(subject as Digest);
  if (moved !== undefined) result['annotations'] = { ...annotations, [provenanceOf]: moved.digest };
  return result;
}

/** BuildKit's mark of an attestation manifest: the digest of the image that it speaks of. */
const provenanceOf = 'vnd.docker.reference.digest';

const encode = (document: Json): Buffer => Buffer.from(JSON.stringify(document));

/** The descriptor of a document. */
export const describe = ({ mediaType, bytes }: NewDocument): Descriptor => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.byteLength,
});
