import { TareError } from '../../errors/index.ts';
import { parseGoBoolean } from '../../image/index.ts';
import { commaFields } from '../dockerfile/comma-fields.ts';

export type AttestationName = 'provenance' | 'sbom';

/** What a client wants said of how a result was made. */
export interface ProvenanceOptions {
  mode: 'min' | 'max';
  version: 'v0.2' | 'v1';
  /** In images alone, not beside exported files. */
  isInlineOnly: boolean;
  /** The client says that the build gives the same result again. */
  isReproducible: boolean;
  builderID: string;
  filename: string;
}

/** A bill of materials that a client wants. */
export interface SbomOptions {
  /** Image that writes it; undefined: we do. */
  generator: string | undefined;
  /** For the generator. */
  parameters: ReadonlyMap<string, string>;
}

type Options = Readonly<Record<string, string>>;
const invalid = (message: string) => new TareError('InvalidArgument', message);

/**
 * Options of the attestation `attest:NAME`, or of the build argument `BUILDKIT_ATTEST_NAME`.
 *
 * @returns undefined: it is not wanted
 */
function fieldsOf(options: Options, name: AttestationName): Map<string, string> | undefined {
  const text = options[`attest:${name}`] ?? options[`build-arg:BUILDKIT_ATTEST_${name.toUpperCase()}`];
  if (text === undefined) return undefined;
  const fields = new Map(
    (text === '' ? [] : commaFields(text, `attest:${name}`)).map((field): [string, string] => {
      const equals = field.indexOf('=');
      return equals < 0 ? [field, ''] : [field.slice(0, equals), field.slice(equals + 1)];
    }),
  );
  const [first] = fields.keys();
  const isWanted = first === undefined ? undefined : parseGoBoolean(first);
  if (isWanted === false) return undefined;
  if (isWanted === true) fields.delete(first!);
  if (flag(fields, 'disabled', name)) return undefined;
  fields.delete('disabled');
  fields.delete('type');
  return fields;
}

function flag(fields: ReadonlyMap<string, string>, key: string, name: AttestationName): boolean {
  const text = fields.get(key);
  if (text === undefined) return false;
  const isSet = text === '' ? true : parseGoBoolean(text);
  if (isSet !== undefined) return isSet;
  throw invalid(`attest:${name}: invalid ${key} ${JSON.stringify(text.slice(0, 40))}: want true or false`);
}

const modes: Readonly<Record<string, ProvenanceOptions['mode']>> = { '': 'max', min: 'min', max: 'max', full: 'max' };
const versions: Readonly<Record<string, ProvenanceOptions['version']>> = { '': 'v1', v1: 'v1', 'v0.2': 'v0.2' };
const known = ['mode', 'version', 'inline-only', 'reproducible', 'builder-id', 'filename'];

/**
 * @returns undefined: no provenance is wanted
 * @throws {TareError} InvalidArgument: the option and what would be right
 */
export function provenanceOptions(options: Options): ProvenanceOptions | undefined {
  const fields = fieldsOf(options, 'provenance');
  if (fields === undefined) return undefined;
  const unknown = [...fields.keys()].find((key) => !known.includes(key));
  if (unknown !== undefined) {
    throw invalid(
      `attest:provenance: unknown option ${JSON.stringify(unknown.slice(0, 40))}: want ${known.join(', ')}`,
    );
  }
  const chosen = <T>(key: string, choices: Readonly<Record<string, T>>, want: string): T => {
    const text = fields.get(key) ?? '';
    if (Object.hasOwn(choices, text)) return choices[text]!;
    throw invalid(`attest:provenance: invalid ${key} ${JSON.stringify(text.slice(0, 40))}: want ${want}`);
  };
  return {
    mode: chosen('mode', modes, 'min or max'),
    version: chosen('version', versions, 'v0.2 or v1'),
    isInlineOnly: flag(fields, 'inline-only', 'provenance'),
    isReproducible: flag(fields, 'reproducible', 'provenance'),
    builderID: fields.get('builder-id') ?? '',
    filename: fields.get('filename') || 'provenance.json',
  };
}

/** @returns undefined: no bill of materials is wanted */
export function sbomOptions(options: Options): SbomOptions | undefined {
  const fields = fieldsOf(options, 'sbom');
  if (fields === undefined) return undefined;
  const generator = fields.get('generator');
  if (generator === '') throw invalid('sbom scanner cannot be empty: attest:sbom wants generator=IMAGE');
  fields.delete('generator');
  if (generator === undefined && fields.size > 0) {
    throw invalid(`attest:sbom: ${[...fields.keys()].join(', ').slice(0, 80)} is for a generator, and none is named`);
  }
  return { generator, parameters: fields };
}
