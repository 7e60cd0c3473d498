import { allEnded, mediaTypes } from '../../image/index.ts';
import type { ContentStore, Descriptor, Platform } from '../../storage/index.ts';
import { digestOf } from '../../storage/index.ts';
import type { ExportedPart } from '../exporter.ts';

/** A document with the descriptor by which others name it; nothing is stored yet. */
export interface ImageDocument {
  descriptor: Descriptor;
  bytes: Buffer;
}

/** Keys by which an index ties attestations to what they speak of, as BuildKit has them. */
const referenceKeys = { type: 'vnd.docker.reference.type', digest: 'vnd.docker.reference.digest' } as const;
export const IN_TOTO_TYPE = 'application/vnd.in-toto+json';
const PREDICATE_KEY = 'in-toto.io/predicate-type';

/** JSON in Go's layout for such documents: what people read with cat. */
const encode = (document: object): Buffer => Buffer.from(JSON.stringify(document, undefined, 2));

export function documentOf(mediaType: string, bytes: Buffer): ImageDocument {
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength } };
}

export function manifestOf(
  config: Descriptor,
  layers: readonly Descriptor[],
  options: { isOci: boolean; annotations?: Record<string, string> | undefined },
): ImageDocument {
  const mediaType = options.isOci ? mediaTypes.manifest : mediaTypes.dockerManifest;
  const { annotations } = options;
  const document = {
    schemaVersion: 2,
    mediaType,
    config,
    layers,
    ...(annotations === undefined ? {} : { annotations }),
  };
  return documentOf(mediaType, encode(document));
}

/** A statement, as the bytes of an in-toto document. */
export interface StatementDocument {
  bytes: Buffer;
  predicateType: string;
}

const ARTIFACT_TYPE = 'application/vnd.docker.attestation.manifest.v1+json';
/** image-spec 1.1, "Guidance for an Empty Descriptor". */
const emptyConfig = { ...documentOf('application/vnd.oci.empty.v1+json', Buffer.from('{}')), data: 'e30=' };

/**
 * The manifest of what is said about an image: a layer a statement.
 *
 * @param isArtifact it is an artifact that names its subject; else it looks like an image of no platform, as older registries want it
 * @see moby/buildkit, docs/attestations/attestation-storage.md
 */
export function attestationManifest(
  subject: Descriptor,
  statements: readonly StatementDocument[],
  isArtifact: boolean,
): { manifest: ImageDocument; blobs: ImageDocument[] } {
  const blobs = statements.map(({ bytes, predicateType }) => {
    const { descriptor } = documentOf(IN_TOTO_TYPE, bytes);
    return { bytes, descriptor: { ...descriptor, annotations: { [PREDICATE_KEY]: predicateType } } };
  });
  const layers = blobs.map(({ descriptor }) => descriptor);
  const config = isArtifact ? emptyConfig : configOfNone(layers);
  const { mediaType, digest, size } = subject;
  const { bytes, descriptor } = isArtifact
    ? documentOf(
        mediaTypes.manifest,
        encode({
          ...{ schemaVersion: 2, mediaType: mediaTypes.manifest, artifactType: ARTIFACT_TYPE },
          config: { ...emptyConfig.descriptor, data: emptyConfig.data },
          ...{ layers, subject: { mediaType, digest, size } },
        }),
      )
    : manifestOf(config.descriptor, layers, { isOci: true });
  const described: Descriptor = {
    ...descriptor,
    ...(isArtifact ? { artifactType: ARTIFACT_TYPE } : {}),
    annotations: { [referenceKeys.digest]: digest, [referenceKeys.type]: 'attestation-manifest' },
    platform: { architecture: 'unknown', os: 'unknown' },
  };
  return { manifest: { bytes, descriptor: described }, blobs: [config, ...blobs] };
}

const configOfNone = (layers: readonly Descriptor[]): ImageDocument =>
  documentOf(
    mediaTypes.config,
    Buffer.from(
      JSON.stringify({
        architecture: 'unknown',
        os: 'unknown',
        config: {},
        rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
      }),
    ),
  );

export function indexOf(
  manifests: readonly Descriptor[],
  options: { isOci: boolean; annotations?: Record<string, string> | undefined },
): ImageDocument {
  const mediaType = options.isOci ? mediaTypes.index : mediaTypes.dockerIndex;
  const { annotations } = options;
  const document = { schemaVersion: 2, mediaType, manifests, ...(annotations === undefined ? {} : { annotations }) };
  return documentOf(mediaType, encode(document));
}

/** As image-spec writes a platform. */
export function platformOf({ platform }: Pick<ExportedPart, 'platform'>): Platform {
  const { architecture, os, variant, osVersion } = platform;
  return {
    architecture,
    os,
    ...(variant === undefined || variant === '' ? {} : { variant }),
    ...(osVersion === undefined || osVersion === '' ? {} : { 'os.version': osVersion }),
  };
}

/** Side by side, for each waits for the disk: whoever names them does so when all are there. */
export async function store(content: Pick<ContentStore, 'put'>, documents: readonly ImageDocument[]): Promise<void> {
  await allEnded(documents.map(({ bytes }) => content.put(bytes)));
}
