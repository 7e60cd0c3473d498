import { TareError } from '../../errors/index.ts';

/**
 * `os[/arch[/variant]]` as the Docker API wants it where it takes JSON.
 * @throws {TareError} InvalidArgument
 */
export function platformJson(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const parts = text.split('/');
  if (parts.length > 3 || !parts.every((part) => /^[\w.-]+$/.test(part)))
    throw new TareError(
      'InvalidArgument',
      `invalid platform ${JSON.stringify(text)}: want os[/arch[/variant]], as in linux/arm64`,
    );
  const [os, architecture, variant] = parts as [string, string?, string?];
  return JSON.stringify({ ...(architecture ? { architecture } : {}), os, ...(variant ? { variant } : {}) });
}
