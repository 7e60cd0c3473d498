import { createHash } from 'node:crypto';
import type { DiffID, Digest } from '../../storage/index.ts';
import type { Catalogue } from './package.ts';

/** The files that a bill of materials is about. */
export interface BomFiles {
  /** As their user calls them. */
  name: string;
  architecture: string;
  os: string;
  /** Base first; undefined: no layer of an image. */
  layers: readonly ({ digest: Digest; diffID: DiffID } | undefined)[];
}

/** The image that a bill of materials is about. */
export interface BomSubject extends BomFiles {
  /** Digest of its manifest. */
  digest: Digest;
  /** Digest of its config. */
  id: Digest;
  layers: readonly { digest: Digest; diffID: DiffID }[];
}

export const isImage = (subject: BomFiles | BomSubject): subject is BomSubject => 'digest' in subject;

/** What a document says of itself. */
export interface BomOrigin {
  /** Our own version. */
  toolVersion: string;
  /** When the document counts as made: of the image or SOURCE_DATE_EPOCH, so that two runs write the same bytes. */
  created: Date;
}

/** Seconds' precision, as both formats want it. */
export const timestamp = (time: Date): string => `${time.toISOString().slice(0, 19)}Z`;

/** A UUID (version 8, by our own hash) that stands for exactly this content. */
export function documentUuid(
  subject: BomFiles | BomSubject,
  origin: BomOrigin,
  catalogue: Catalogue,
  format: string,
): string {
  const hash = createHash('sha256');
  hash.update(
    `${format}\0${origin.toolVersion}\0${timestamp(origin.created)}\0${subject.name}\0${isImage(subject) ? subject.digest : ''}\0`,
  );
  for (const { purl, path, layer } of catalogue.packages) hash.update(`${purl}\0${path}\0${layer}\0`);
  const hex = hash.digest('hex');
  const variant = ((Number.parseInt(hex[16]!, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** pkg:oci of an image, by its digest. */
export function imagePurl({ name, digest, architecture }: BomSubject): string {
  const bare = name.replace(/@.*$/, '').replace(/:[^:/]*$/, '');
  const last = bare.slice(bare.lastIndexOf('/') + 1).toLowerCase();
  const repository = bare.includes('/') ? `&repository_url=${encodeURIComponent(bare)}` : '';
  return `pkg:oci/${encodeURIComponent(last)}@${digest.replace(':', '%3A')}?arch=${encodeURIComponent(architecture)}${repository}`;
}
