import { TareError } from '../../errors/index.ts';
import { canonical, type Reference } from '../reference.ts';
import type { Credentials, Registries } from '../registry/registry.ts';
import { DirDestination } from './dir-destination.ts';
import { DirSource } from './dir-source.ts';
import { DockerArchiveDestination } from './docker-archive-destination.ts';
import { DockerArchiveSource } from './docker-archive-source.ts';
import { FolderFiles } from './folder-files.ts';
import type { ImageDestination } from './image-destination.ts';
import type { ImageSource } from './image-source.ts';
import { OciArchiveDestination } from './oci-archive-destination.ts';
import { OciLayoutDestination } from './oci-layout-destination.ts';
import { OciLayoutSource } from './oci-layout-source.ts';
import { RegistryDestination } from './registry-destination.ts';
import { RegistrySource } from './registry-source.ts';
import { TarFiles } from './tar-files.ts';
import { formatTransport, type TransportName } from './transport-name.ts';

/** What transports that are more than files need; each is asked for only when a name calls for it. */
export interface TransportParts {
  registries(): Promise<Registries>;
  /** Of the registry; undefined: those that are configured. */
  credentials?: Credentials | undefined;
  /** Ends what is asked of a registry. */
  signal?: AbortSignal | undefined;
  /** The engine's own store. */
  localSource(name: string): Promise<ImageSource>;
  localDestination(name: string): Promise<ImageDestination>;
}

/** @throws {TareError} NotFound, InvalidArgument: what the name leads to */
export async function openSource(name: TransportName, parts: TransportParts): Promise<ImageSource> {
  const what = formatTransport(name);
  switch (name.transport) {
    case 'docker':
      return new RegistrySource(await parts.registries(), name.reference, what, parts);
    case 'oci':
      return new OciLayoutSource(new FolderFiles(name.path, what), name, what);
    case 'oci-archive':
      return new OciLayoutSource(await TarFiles.open(name.path, what), name, what);
    case 'docker-archive':
      return new DockerArchiveSource(await TarFiles.open(name.path, what), name, what);
    case 'dir':
      return new DirSource(name.path, what);
    case 'local':
      return await parts.localSource(name.name);
  }
}

/**
 * @param additionalTags more names that a docker archive gives its image
 * @throws {TareError} InvalidArgument, AlreadyExists: what the name leads to
 */
export async function openDestination(
  name: TransportName,
  parts: TransportParts,
  additionalTags: readonly Reference[] = [],
): Promise<ImageDestination> {
  const what = formatTransport(name);
  if (additionalTags.length > 0 && name.transport !== 'docker-archive') {
    throw new TareError('InvalidArgument', `${what}: only a docker archive takes additional tags`);
  }
  if ('index' in name && name.index !== undefined) {
    throw new TareError('InvalidArgument', `${what}: a position names an image to read, not one to write`);
  }
  switch (name.transport) {
    case 'docker':
      return new RegistryDestination(await parts.registries(), name.reference, what, parts);
    case 'oci':
      return new OciLayoutDestination(name.path, name.name, what);
    case 'oci-archive':
      return await OciArchiveDestination.open(name.path, name.name, what);
    case 'docker-archive': {
      const names = [...(name.reference === undefined ? [] : [name.reference]), ...additionalTags];
      const distinct = [...new Map(names.map((reference) => [canonical(reference), reference])).values()];
      return await DockerArchiveDestination.open(name.path, distinct, what);
    }
    case 'dir':
      return new DirDestination(name.path, what);
    case 'local':
      return await parts.localDestination(name.name);
  }
}
