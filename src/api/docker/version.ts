import { TareError } from '../../errors/index.ts';

export const MAXIMUM_VERSION = '1.51';
export const MINIMUM_VERSION = '1.24';

/** Minor number of an API version; the major one is always 1. */
export type ApiVersion = number;

const minor = (version: string) => Number(version.slice(2));

/**
 * Splits `/v1.NN/rest`. Without a prefix the newest version is meant.
 *
 * @throws {TareError} InvalidArgument: a version outside of what is served, in docker's words (clients match on them)
 */
export function splitVersion(path: string): { version: ApiVersion; path: string } {
  const match = /^\/v([0-9]+(?:\.[0-9]+)*)(\/.*)$/.exec(path);
  if (!match) return { version: minor(MAXIMUM_VERSION), path };
  const [, text, rest] = match as unknown as [string, string, string];
  const [major = 0, wanted = 0] = text.split('.').map(Number);
  if (major > 1 || (major === 1 && wanted > minor(MAXIMUM_VERSION))) {
    throw new TareError(
      'InvalidArgument',
      `client version ${text} is too new. Maximum supported API version is ${MAXIMUM_VERSION}`,
    );
  }
  if (major < 1 || wanted < minor(MINIMUM_VERSION)) {
    throw new TareError(
      'InvalidArgument',
      `client version ${text} is too old. Minimum supported API version is ${MINIMUM_VERSION}, please upgrade your client to a newer version`,
    );
  }
  return { version: wanted, path: rest };
}
