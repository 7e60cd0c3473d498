import { UsageError } from './usage-error.ts';

/** @throws {UsageError} not `key=value` */
export function annotationsFrom(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const equals = text.indexOf('=');
      if (equals > 0) return [text.slice(0, equals), text.slice(equals + 1)];
      throw new UsageError(`invalid annotation ${JSON.stringify(text)}: want key=value`);
    }),
  );
}
