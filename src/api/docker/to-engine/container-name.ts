import { TareError } from '../../../errors/index.ts';

/**
 * A container's name without docker's leading slash.
 *
 * @throws {TareError} InvalidArgument, with docker's text
 */
export function containerName(given: string): string {
  const name = given.replace(/^\//, '');
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name)) {
    throw new TareError(
      'InvalidArgument',
      `Invalid container name (${given}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  return name;
}
