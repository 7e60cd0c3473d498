import { TareError } from '../../errors/index.ts';
import { formatPlatform, parseReference, withDefaultTag } from '../../image/index.ts';
import type { Digest, Platform } from '../../storage/index.ts';
import type { ExportedForm, PartAttestation } from '../exporter.ts';
import type { BridgeRef } from '../frontend.ts';

/** What a statement is about (in-toto, "Statement", `subject`). */
export interface StatementSubject {
  name: string;
  digest: Record<string, string>;
}

/** A statement is held whole. Bills of large images have some megabytes. */
const MAX_STATEMENT_BYTES = 64 << 20;
/** The same of all those together that frontends hand over in one build. */
const MAX_GIVEN_BYTES = 128 << 20;
const PIECE_BYTES = 8 << 20;
const STATEMENT_TYPE = 'https://in-toto.io/Statement/v0.1';

/** An in-toto statement about what is exported. */
export interface Statement {
  predicateType: string;
  bytes: Buffer;
}

/** An image as in-toto subjects name it: once by each of its names. */
export function imageSubjects(names: readonly string[], platform: Platform, digest: Digest): StatementSubject[] {
  const digests = { sha256: digest.slice('sha256:'.length) };
  if (names.length === 0) return [{ name: '_', digest: digests }];
  return names.map((name) => ({ name: imagePurl(name, platform), digest: digests }));
}

/** `pkg:docker/example.com/app@1.0?platform=linux%2Famd64` */
export function imagePurl(name: string, platform: Platform | undefined, type: 'docker' | 'oci' = 'docker'): string {
  const { domain, path, tag, digest } = withDefaultTag(parseReference(name));
  const repository = domain === 'docker.io' ? path.replace(/^library\//, '') : `${domain}/${path}`;
  const qualifiers = [
    ...(digest === undefined ? [] : [`digest=${digest}`]),
    ...(platform === undefined ? [] : [`platform=${encodeURIComponent(formatPlatform(platform))}`]),
  ];
  const encoded = repository.split('/').map(encodeURIComponent).join('/');
  const version = tag === undefined ? '' : `@${encodeURIComponent(tag)}`;
  return `pkg:${type}/${encoded}${version}${qualifiers.length === 0 ? '' : `?${qualifiers.join('&')}`}`;
}

/**
 * The statement that an attestation makes about these subjects.
 * @throws {TareError} InvalidArgument: its document is no JSON object, or too large
 */
export async function statementOf(
  { predicateType, subjects, predicate }: PartAttestation,
  own: readonly StatementSubject[],
  form: ExportedForm,
): Promise<Statement> {
  const named = subjects.length === 0 ? own : subjects.flatMap((subject) => subjectsOf(subject, own));
  const document = { _type: STATEMENT_TYPE, predicateType, subject: named, predicate: await predicate(form) };
  return { predicateType, bytes: Buffer.from(JSON.stringify(document, undefined, 2)) };
}

/** What one build's frontends may still hand over. */
export class GivenBytes {
  #left = MAX_GIVEN_BYTES;

  /** @throws {TareError} InvalidArgument: it is more */
  take(sizeBytes: number): void {
    this.#left -= sizeBytes;
    if (this.#left < 0)
      throw new TareError('InvalidArgument', `attestations of over ${MAX_GIVEN_BYTES} bytes in one build`);
  }
}

/**
 * A document that a frontend has in a tree.
 * @throws {TareError} NotFound; InvalidArgument: it is no JSON object, or too large
 */
export async function documentAt(ref: BridgeRef, path: string, given: GivenBytes): Promise<Record<string, unknown>> {
  const { sizeBytes } = await ref.status(path);
  if (sizeBytes > MAX_STATEMENT_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `attestation ${JSON.stringify(path)} has ${sizeBytes} bytes, at most ${MAX_STATEMENT_BYTES} are allowed`,
    );
  }
  given.take(sizeBytes);
  const pieces: Uint8Array[] = [];
  // A file is read whole only up to a size.
  for (let offset = 0; offset < sizeBytes; offset += PIECE_BYTES) {
    pieces.push(await ref.readFile(path, { offset, length: Math.min(PIECE_BYTES, sizeBytes - offset) }));
  }
  return readDocument(Buffer.concat(pieces), path);
}

function readDocument(bytes: Uint8Array, path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TareError(
      'InvalidArgument',
      `attestation ${JSON.stringify(path)} is not valid JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TareError('InvalidArgument', `attestation ${JSON.stringify(path)} is no JSON object`);
  }
  return value as Record<string, unknown>;
}

function subjectsOf(
  { kind, name, digests }: PartAttestation['subjects'][number],
  own: readonly StatementSubject[],
): readonly StatementSubject[] {
  if (kind === 'self') return name === '' || name === '_' ? own : own.map(({ digest }) => ({ name, digest }));
  const pairs = digests.map((digest) => {
    const colon = digest.indexOf(':');
    if (colon < 1) {
      throw new TareError(
        'InvalidArgument',
        `attestation of ${JSON.stringify(name)}: invalid digest ${JSON.stringify(digest)}: want ALGORITHM:DIGITS`,
      );
    }
    return [digest.slice(0, colon), digest.slice(colon + 1)] as const;
  });
  return [{ name, digest: Object.fromEntries(pairs) }];
}
