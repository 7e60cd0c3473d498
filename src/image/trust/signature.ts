import { TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import { mapAt, objectAt, parseJson, textAt } from '../json.ts';

/** A message that GPG signed (containers-signature(5)). */
export interface SimpleSignature {
  kind: 'simple';
  bytes: Buffer;
}

/** A signature as cosign 1 and 2 store it: a payload, and the rest in annotations. */
export interface CosignSignature {
  kind: 'cosign';
  payload: Buffer;
  annotations: Readonly<Record<string, string>>;
}

/** The signature itself, base64. */
export const signatureText = ({ annotations }: CosignSignature): string => annotations[annotationKeys.signature] ?? '';

/** A sigstore bundle, as cosign 2 and 3 attach it. */
export interface BundleSignature {
  kind: 'bundle';
  bytes: Buffer;
}

/** What somebody says about an image; nothing of it is verified yet. */
export type Signature = SimpleSignature | CosignSignature | BundleSignature;

/** Something in the place of a signature that is none; told of, so that nobody looks for what is there. */
export interface UnreadableSignature {
  kind: 'unreadable';
  why: string;
}

export type FoundSignature = Signature | UnreadableSignature;

export const COSIGN_PAYLOAD_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
export const BUNDLE_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json';
const SIMPLE_TYPE = 'application/vnd.tare.signature.gpg.v1';
const STORED_COSIGN_TYPE = 'application/vnd.tare.signature.cosign.v1';

export const annotationKeys = {
  signature: 'dev.cosignproject.cosign/signature',
  certificate: 'dev.sigstore.cosign/certificate',
  chain: 'dev.sigstore.cosign/chain',
  bundle: 'dev.sigstore.cosign/bundle',
  timestamp: 'dev.sigstore.cosign/rfc3161timestamp',
} as const;

/** Signatures are small; whoever sends more than this sends something else. */
export const MAX_SIGNATURE_BYTES = 1 << 20;
/** So many signatures of one image are looked at; a registry could name thousands. */
export const MAX_SIGNATURES = 128;

/** Marks a sigstore signature in a file (containers/image, signature/internal, "blob formats"). */
const sigstoreMark = Buffer.from('\0sigstore-json\n', 'latin1');
const MAX_STORED_BYTES = 4 * MAX_SIGNATURE_BYTES;

/** The form in which a signature is kept: a blob, and the media type by which it is read again. */
export function encodeSignature(signature: Signature): { mediaType: string; bytes: Buffer } {
  switch (signature.kind) {
    case 'simple':
      return { mediaType: SIMPLE_TYPE, bytes: signature.bytes };
    case 'bundle':
      return { mediaType: BUNDLE_TYPE, bytes: signature.bytes };
    case 'cosign': {
      const { payload, annotations } = signature;
      const document = { mimeType: COSIGN_PAYLOAD_TYPE, payload: payload.toString('base64'), annotations };
      const bytes = Buffer.concat([sigstoreMark, Buffer.from(JSON.stringify(document))]);
      return { mediaType: STORED_COSIGN_TYPE, bytes };
    }
  }
}

/** Whether a kept document is a signature. */
export const isSignatureType = (mediaType: string): boolean =>
  [SIMPLE_TYPE, STORED_COSIGN_TYPE, BUNDLE_TYPE].includes(mediaType);

/** Reads what `encodeSignature` wrote. @throws {TareError} InvalidArgument */
export function decodeSignature(mediaType: string, bytes: Buffer): Signature {
  if (mediaType === BUNDLE_TYPE) return { kind: 'bundle', bytes };
  return parseSignatureFile(bytes);
}

/**
 * A signature file of a lookaside or a `dir:` image: sigstore's after a mark, else GPG's.
 * @throws {TareError} InvalidArgument
 */
export function parseSignatureFile(bytes: Buffer): Signature {
  if (!bytes.subarray(0, sigstoreMark.length).equals(sigstoreMark)) return { kind: 'simple', bytes };
  const what = 'signature';
  const document = objectAt(parseJson(bytes.subarray(sigstoreMark.length), what, MAX_STORED_BYTES), what);
  const mimeType = textAt(document['mimeType'], `${what}: mimeType`);
  if (mimeType !== COSIGN_PAYLOAD_TYPE) {
    throw new TareError(
      'InvalidArgument',
      `${what}: mimeType ${JSON.stringify(mimeType)}: want ${COSIGN_PAYLOAD_TYPE}`,
    );
  }
  return {
    kind: 'cosign',
    payload: Buffer.from(textAt(document['payload'], `${what}: payload`), 'base64'),
    annotations: mapAt(document['annotations'] ?? {}, `${what}: annotations`, textAt),
  };
}

/** A document of which the digest was compared: what a signature speaks of. */
export interface SignedManifest {
  digest: Digest;
  /** Read only when a signature covers the bytes themselves. */
  bytes(): Promise<Buffer>;
}

/** Where kept signatures are written. */
export interface SignatureKeeper {
  put(bytes: Uint8Array): Promise<{ digest: Digest; sizeBytes: number }>;
}

/** Stores signatures as blobs. Whoever records the descriptors keeps them. */
export async function keepSignatures(store: SignatureKeeper, signatures: readonly Signature[]): Promise<Descriptor[]> {
  const kept = new Map<Digest, Descriptor>();
  for (const signature of signatures) {
    const { mediaType, bytes } = encodeSignature(signature);
    const { digest, sizeBytes } = await store.put(bytes);
    kept.set(digest, { mediaType, digest, size: sizeBytes });
  }
  return [...kept.values()];
}
