import { TareError } from '../../errors/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Exporter } from '../exporter.ts';
import { archiveExporter } from './archive.ts';
import { folderExporter } from './folder.ts';
import { imageExporter } from './image.ts';

/**
 * What a client calls an exporter.
 * @throws {TareError} InvalidArgument: there is no such
 */
export function exporterFor(parts: BuilderParts, type: string): Exporter {
  switch (type) {
    case 'image':
    case 'moby':
      return imageExporter(parts, type);
    case 'oci':
    case 'docker':
      return archiveExporter(parts, type);
    case 'local':
    case 'tar':
      return folderExporter(parts, type);
    case 'cacheonly':
      return async () => ({});
    default:
      throw new TareError(
        'InvalidArgument',
        `unknown exporter ${JSON.stringify(type.slice(0, 80))}: want image, oci, docker, local, tar or cacheonly`,
      );
  }
}
