import type { VisibleFile } from '../../storage/index.ts';
import { linesOf } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';
import { stanzasOf } from './stanzas.ts';

const MAX_METADATA_BYTES = 16 * 1024 * 1024;

export const isPythonMetadata = (path: string): boolean =>
  /\.dist-info\/METADATA$|\.egg-info\/PKG-INFO$|\.egg-info$|(?:^|\/)EGG-INFO\/PKG-INFO$/.test(path);

/** An installed distribution (core metadata; PEP 566, PEP 639). @returns undefined: it has no name or version */
export function pythonPackage(file: VisibleFile): FoundPackage | undefined {
  for (const fields of stanzasOf(linesOf(file, MAX_METADATA_BYTES))) {
    const [name, version] = [fields.get('name'), fields.get('version')];
    if (!name || !version) return undefined;
    const supplier = fields.get('author') || fields.get('author-email')?.split('\n')[0];
    const licenses = licensesOf(
      fields.get('license-expression'),
      fields.get('license'),
      fields.get('classifier')?.split('\n') ?? [],
    );
    return { type: 'pypi', name, version, licenses, ...(supplier ? { supplier } : {}) };
  }
  return undefined;
}

/** `License` is free text, often a whole licence: only its one-line forms are names. */
function licensesOf(expression: string | undefined, license: string | undefined, classifiers: string[]): string[] {
  if (expression) return [expression];
  if (license && license.length <= 100 && !license.includes('\n') && license !== 'UNKNOWN') return [license];
  return classifiers.flatMap((line) => /^License ::(?: OSI Approved ::)? (.+)$/.exec(line)?.[1] ?? []).slice(0, 16);
}
