import { TareError } from '../../errors/index.ts';
import type { PartAttestation } from '../exporter.ts';
import type { Attestation } from '../frontend.ts';
import { documentAt, type GivenBytes } from './statement.ts';

/** Statements in one folder. */
const MAX_STATEMENTS = 1000;

const wrong = (path: string, why: string) =>
  new TareError('InvalidArgument', `attestation ${JSON.stringify(path)}: ${why}`);

/**
 * The statements of a bundle: a folder in which each file whose name ends in `.json` is an in-toto statement.
 *
 * @throws {TareError} InvalidArgument: a file is no statement, or of another kind than the bundle says
 * @see moby/buildkit, docs/attestations/sbom-protocol.md
 */
export async function bundled(attestation: Attestation, given: GivenBytes): Promise<PartAttestation[]> {
  const { ref, path, inToto } = attestation;
  if (ref === undefined) return [];
  const entries = (await ref.readDirectory(path === '' ? '/' : path, '*.json')).map((entry) => entry.path).sort();
  if (entries.length > MAX_STATEMENTS) {
    throw wrong(path, `${entries.length} statements in one folder, at most ${MAX_STATEMENTS} are allowed`);
  }
  const wanted = inToto?.predicateType ?? '';
  return await Promise.all(
    entries.map(async (name) => {
      const place = `${path === '' || path.endsWith('/') ? path : `${path}/`}${name}`;
      const statement = readStatement(await documentAt(ref, place, given), place);
      if (wanted !== '' && statement.predicateType !== wanted) {
        throw wrong(place, `its predicateType is ${JSON.stringify(statement.predicateType)}: want ${wanted}`);
      }
      return {
        path: name,
        isInlineOnly: isInlineOnly(attestation),
        predicateType: statement.predicateType,
        subjects: statement.subjects,
        predicate: async () => statement.predicate,
      };
    }),
  );
}

/** The one statement that a frontend hands over. @throws {TareError} InvalidArgument: it has no document */
export function single(attestation: Attestation, given: GivenBytes): PartAttestation {
  const { ref, path, inToto } = attestation;
  if (inToto === undefined || ref === undefined) throw wrong(path, 'it has no document');
  return {
    path: path.slice(path.lastIndexOf('/') + 1),
    isInlineOnly: isInlineOnly(attestation),
    predicateType: inToto.predicateType,
    subjects: inToto.subjects,
    predicate: () => documentAt(ref, path, given),
  };
}

const isInlineOnly = ({ metadata }: Attestation): boolean =>
  Buffer.from(metadata['inline-only'] ?? []).toString('utf8') === 'true';

interface Subject {
  name?: unknown;
  digest?: unknown;
}

function readStatement(document: Record<string, unknown>, path: string) {
  const { predicateType, subject, predicate } = document;
  if (typeof predicateType !== 'string' || typeof predicate !== 'object' || predicate === null) {
    throw wrong(path, 'it is no in-toto statement: want predicateType and predicate');
  }
  const listed: unknown = subject ?? [];
  if (!Array.isArray(listed)) throw wrong(path, 'its subject is no list');
  const subjects = (listed as (Subject | null)[]).map((one) => {
    const digests = Object.entries((one?.digest ?? {}) as Record<string, unknown>);
    if (typeof one?.name !== 'string' || digests.some(([, value]) => typeof value !== 'string')) {
      throw wrong(path, 'a subject of it has no name or a malformed digest');
    }
    return { kind: 'raw' as const, name: one.name, digests: digests.map(([key, value]) => `${key}:${value}`) };
  });
  return { predicateType, predicate, subjects };
}
