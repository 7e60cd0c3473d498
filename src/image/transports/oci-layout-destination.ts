import type { Descriptor } from '../../storage/index.ts';
import { digestOf, hexOf } from '../../storage/index.ts';
import { blobName } from '../archive-source.ts';
import { isIndexType, mediaTypes } from '../manifest.ts';
import type { BlobBytes } from '../registry/registry.ts';
import { isFileBlob } from './file-blob.ts';
import { FolderFiles } from './folder-files.ts';
import { FolderWriter } from './folder-writer.ts';
import {
  type DestinationRules,
  type ImageDestination,
  type ManifestRole,
  noSignatures,
  type PutBlobOptions,
} from './image-destination.ts';
import { readWhole } from './layout-files.ts';
import { readLayoutIndex, refName } from './oci-layout-source.ts';

const BLOBS = 'blobs/sha256';

/** What an OCI layout holds. */
export const layoutRules: DestinationRules = {
  manifestTypes: [mediaTypes.manifest],
  indexes: true,
  artifacts: true,
  layers: 'compress',
  foreignLayers: true,
  signatures: false,
  referrers: true,
};

/** An OCI layout in a folder, made if need be; its other images stay. */
export class OciLayoutDestination implements ImageDestination {
  readonly what: string;
  readonly rules = layoutRules;
  readonly #writer: FolderWriter;
  readonly #files: FolderFiles;
  readonly #name: string | undefined;
  readonly #entries: Descriptor[] = [];

  constructor(path: string, name: string | undefined, what: string) {
    this.what = what;
    this.#name = name;
    using opening = new DisposableStack();
    this.#writer = opening.use(new FolderWriter(path, what));
    this.#writer.makeFolder(BLOBS);
    this.#files = new FolderFiles(path, what);
    opening.move();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#files[Symbol.dispose]();
    this.#writer.forgetPartials();
    this.#writer[Symbol.dispose]();
  }

  hasBlob(descriptor: Descriptor): Promise<boolean> {
    return isFileBlob(this.#files, blobName(descriptor.digest), descriptor);
  }

  async putBlob(descriptor: Descriptor, bytes: BlobBytes, options: PutBlobOptions = {}): Promise<'existed' | 'stored'> {
    if (await this.hasBlob(descriptor)) return 'existed';
    await this.#writer.writeBlob(BLOBS, hexOf(descriptor.digest), descriptor, bytes, options);
    return 'stored';
  }

  async putManifest(mediaType: string, bytes: Buffer, role: ManifestRole): Promise<void> {
    const digest = digestOf(bytes);
    await this.#writer.writeFile(BLOBS, hexOf(digest), bytes);
    const descriptor = { mediaType, digest, size: bytes.byteLength };
    if (role !== 'part') this.#entries.push(layoutEntry(descriptor, bytes, role, this.#name));
  }

  async putSignatures(): Promise<void> {
    noSignatures(this.what);
  }

  async commit(): Promise<void> {
    await this.#writer.syncFolder(BLOBS);
    if (this.#files.size('oci-layout') === undefined) await this.#writer.writeFile('', 'oci-layout', layoutVersion);
    // Copies to other names of this layout may end at the same moment.
    using _ = await this.#writer.lock();
    const index = await this.#readIndex();
    index['manifests'] = withEntries(index['manifests'] as Descriptor[], this.#entries);
    await this.#writer.writeFile('', 'index.json', Buffer.from(JSON.stringify(index)));
    await this.#writer.syncFolder('');
  }

  /** The index as it is: what others wrote into it stays, also what we do not know. */
  async #readIndex(): Promise<Record<string, unknown>> {
    const bytes = await readWhole(this.#files, 'index.json');
    if (bytes === undefined) return { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [] };
    await readLayoutIndex(this.#files, this.what);
    const index = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
    return { ...index, manifests: index['manifests'] ?? [] };
  }
}

export const layoutVersion = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** A line of `index.json` for a manifest: its name as an annotation, and an artifact's type. */
export function layoutEntry(
  { mediaType, digest, size }: Descriptor,
  bytes: Buffer,
  role: ManifestRole,
  name: string | undefined,
): Descriptor {
  const own = typeof role === 'object' ? role.tag : role === 'root' ? name : undefined;
  const { artifactType } = JSON.parse(bytes.toString('utf8')) as { artifactType?: unknown };
  return {
    ...{ mediaType, digest, size },
    ...(own === undefined ? {} : { annotations: { [refName]: own } }),
    ...(typeof artifactType === 'string' && !isIndexType(mediaType) ? { artifactType } : {}),
  };
}

/** A layout's entries with new ones. A name goes to its newest owner; the image that had it stays, nameless. */
export function withEntries(known: readonly Descriptor[], added: readonly Descriptor[]): Descriptor[] {
  let entries = [...known];
  for (const entry of added) {
    const name = entry.annotations?.[refName];
    if (name !== undefined) {
      entries = entries.map((other) => (other.annotations?.[refName] === name ? withoutName(other) : other));
    }
    entries = entries.filter(
      (other) => other.digest !== entry.digest || (other.annotations?.[refName] !== undefined && name !== undefined),
    );
    entries.push(entry);
  }
  return entries;
}

function withoutName({ annotations = {}, ...rest }: Descriptor): Descriptor {
  const { [refName]: _, ...others } = annotations;
  return Object.keys(others).length === 0 ? rest : { ...rest, annotations: others };
}
