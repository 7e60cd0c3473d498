import { resolve } from 'node:path';
import { UsageError } from './usage-error.ts';

/**
 * docker's `-v`: `TARGET` for an anonymous volume, else `SOURCE:TARGET[:OPTIONS]`. A source that begins with a dot is taken from
 * the working folder; the engine checks the rest.
 *
 * @throws {UsageError}: an empty part or too many
 */
export function parseVolume(text: string): { bind: string } | { volume: string } {
  const parts = text.split(':');
  if (text === '' || parts.length > 3 || parts.some((part) => part === ''))
    throw new UsageError(`invalid volume ${JSON.stringify(text)} for --volume: expected [SOURCE:]TARGET[:OPTIONS]`);
  if (parts.length === 1) return { volume: text };
  const [source = '', ...rest] = parts;
  return { bind: [source.startsWith('.') ? resolve(source) : source, ...rest].join(':') };
}
