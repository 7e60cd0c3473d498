import { TareError } from '../../errors/index.ts';
import type { TypedOptions } from '../build-types.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Exporter, ExportSource } from '../exporter.ts';
import { archiveExporter } from './archive.ts';
import { Attributes } from './attributes.ts';
import { parseEpoch } from './epoch.ts';
import { folderExporter } from './folder.ts';
import { imageExporter, pushOptions } from './image.ts';
import { imageOptions } from './image-maker.ts';
import { imageNames } from './image-names.ts';

/** Nothing yet: options are read for it that no result decides about. */
const nothing: ExportSource = { parts: [], isMultiPlatform: false, metadata: new Map() };

/**
 * Refuses before anything is built what an exporter would refuse of its options afterwards.
 *
 * @throws {TareError} InvalidArgument, Unsupported: the option and what would be right
 */
export function requireExporter(parts: BuilderParts, { type, attributes }: TypedOptions): void {
  exporterFor(parts, type);
  // Docker's driver of buildx writes image so.
  const options = new Attributes(`exporter ${type === 'moby' ? 'image' : type}`, attributes);
  parseEpoch(options.text('source-date-epoch'));
  if (['image', 'moby', 'oci', 'docker'].includes(type)) {
    // A frontend may yet say what it is called.
    if (options.text('name') !== '*') {
      const names = imageNames(options, nothing.metadata);
      if (type === 'image' || type === 'moby') pushOptions(options, names);
    }
    imageOptions(options, nothing, { compression: 'gzip' });
  } else options.flag('platform-split', true);
}

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
