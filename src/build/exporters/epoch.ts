import { TareError } from '../../errors/index.ts';

/** The last second of the year 9999, the end of what documents can say. */
const LAST_SECOND = 253_402_300_799;

/**
 * SOURCE_DATE_EPOCH as text: seconds since 1970.
 *
 * @returns milliseconds; undefined: not set
 * @throws {TareError} InvalidArgument
 * @see reproducible-builds.org, SOURCE_DATE_EPOCH
 */
export function parseEpoch(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (/^\d{1,12}$/.test(text) && Number(text) <= LAST_SECOND) return Number(text) * 1000;
  throw new TareError(
    'InvalidArgument',
    `invalid SOURCE_DATE_EPOCH ${JSON.stringify(text.slice(0, 40))}: want seconds since 1970-01-01, at most ${LAST_SECOND}`,
  );
}

/** What a frontend said of it, for one platform or for all. */
export function epochOf(
  attribute: string | undefined,
  metadata: ReadonlyMap<string, Uint8Array>,
  platformID: string,
): number | undefined {
  if (attribute !== undefined) return parseEpoch(attribute);
  const bytes = metadata.get(`source.date.epoch/${platformID}`) ?? metadata.get('source.date.epoch');
  return bytes === undefined ? undefined : parseEpoch(Buffer.from(bytes).toString('utf8'));
}
