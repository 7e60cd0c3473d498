import type { ExportContext } from '../exporter.ts';
import type { Attributes } from './attributes.ts';

/** Clients send what newer builders know: said, and no reason to fail. */
export function warnOfUnknown(attributes: Attributes, { progress }: Pick<ExportContext, 'progress'>): void {
  const unknown = attributes.unknown();
  if (unknown.length === 0) return;
  progress.warn({
    level: 1,
    short: `export options without an effect here: ${unknown.join(', ')}`,
    detail: [],
    ranges: [],
  });
}
