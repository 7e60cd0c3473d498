import { TareError } from '../../../errors/index.ts';

/**
 * A moment as docker's clients send it: seconds since the epoch with up to nine decimals, or RFC 3339.
 *
 * @returns undefined for '' and '0', which mean "no bound"
 * @throws {TareError} InvalidArgument: neither
 */
export function optionalSeconds(name: string, text: string): number | undefined {
  if (text === '' || text === '0') return undefined;
  if (/^-?[0-9]{1,11}(\.[0-9]{1,9})?$/.test(text)) return Number(text);
  const parsed = /^[0-9]{4}-[0-9]{2}-[0-9]{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(parsed)) {
    throw new TareError(
      'InvalidArgument',
      `invalid value for "${name}": "${text}" is neither Unix seconds nor RFC 3339`,
    );
  }
  return parsed / 1000;
}
