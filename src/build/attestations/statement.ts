import { TareError } from '../../errors/index.ts';
import { formatPlatform, parseReference, withDefaultTag } from '../../image/index.ts';
import type { Digest, Platform } from '../../storage/index.ts';
import type { Attestation } from '../frontend.ts';

/** What a statement is about (in-toto, "Statement", `subject`). */
export interface StatementSubject {
  name: string;
  digest: Record<string, string>;
}

/** A statement is held whole. Bills of large images have some megabytes. */
const MAX_STATEMENT_BYTES = 64 << 20;
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
export function imagePurl(name: string, platform: Platform | undefined): string {
  const { domain, path, tag, digest } = withDefaultTag(parseReference(name));
  const repository = domain === 'docker.io' ? path.replace(/^library\//, '') : `${domain}/${path}`;
  const qualifiers = [
    ...(digest === undefined ? [] : [`digest=${digest}`]),
    ...(platform === undefined ? [] : [`platform=${encodeURIComponent(formatPlatform(platform))}`]),
  ];
  const encoded = repository.split('/').map(encodeURIComponent).join('/');
  const version = tag === undefined ? '' : `@${encodeURIComponent(tag)}`;
  return `pkg:docker/${encoded}${version}${qualifiers.length === 0 ? '' : `?${qualifiers.join('&')}`}`;
}

/**
 * The statement that an attestation makes about these subjects.
 * @throws {TareError} InvalidArgument: its document is no JSON object, or too large; Unsupported: a bundle
 */
export async function statementOf(attestation: Attestation, own: readonly StatementSubject[]): Promise<Statement> {
  if (attestation.kind !== 'in-toto' || attestation.inToto === undefined) {
    throw new TareError(
      'Unsupported',
      `attestation ${JSON.stringify(attestation.path)} is a bundle: only in-toto statements one by one can be exported`,
    );
  }
  const { predicateType, subjects } = attestation.inToto;
  const predicate = readPredicate(await contentOf(attestation), attestation.path);
  const named = subjects.length === 0 ? own : subjects.flatMap((subject) => subjectsOf(subject, own));
  const document = { _type: STATEMENT_TYPE, predicateType, subject: named, predicate };
  return { predicateType, bytes: Buffer.from(JSON.stringify(document, undefined, 2)) };
}

async function contentOf({ content, ref, path }: Attestation): Promise<Uint8Array> {
  if (content !== undefined) return content;
  if (ref !== undefined) {
    const { sizeBytes } = await ref.status(path);
    if (sizeBytes > MAX_STATEMENT_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `attestation ${JSON.stringify(path)} has ${sizeBytes} bytes, at most ${MAX_STATEMENT_BYTES} are allowed`,
      );
    }
    return await ref.readFile(path, { offset: 0, length: sizeBytes });
  }
  throw new TareError('InvalidArgument', `attestation ${JSON.stringify(path)} has no document`);
}

function readPredicate(bytes: Uint8Array, path: string): object {
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
  return value;
}

function subjectsOf(
  { kind, name, digests }: NonNullable<Attestation['inToto']>['subjects'][number],
  own: readonly StatementSubject[],
): readonly StatementSubject[] {
  if (kind === 'self') return name === '' || name === '_' ? own : own.map(({ digest }) => ({ name, digest }));
  const pairs = digests.map((digest) => {
    const colon = digest.indexOf(':');
    return [digest.slice(0, colon), digest.slice(colon + 1)] as const;
  });
  return [{ name, digest: Object.fromEntries(pairs) }];
}

/** Said only inside images, not beside files of an export. */
export const isInlineOnly = ({ metadata }: Attestation): boolean => {
  const flag = metadata['attestation.inline-only'];
  return flag !== undefined && Buffer.from(flag).toString('utf8') === 'true';
};
