import { TareError } from '../../errors/index.ts';
import type { Descriptor, Digest } from '../../storage/index.ts';
import { blobName } from '../archive-source.ts';
import { isIndexType, isManifestType, parseManifest } from '../manifest.ts';
import { canonical, parseReference, withDefaultTag } from '../reference.ts';
import { fileBlob, missingBlob } from './file-blob.ts';
import {
  type BlobRange,
  checkedDocument,
  type ImageDocument,
  type ImageSource,
  requireManifestSize,
} from './image-source.ts';
import { type LayoutFiles, readWhole } from './layout-files.ts';

export const refName = 'org.opencontainers.image.ref.name';
const containerdName = 'io.containerd.image.name';

/** Which entry of a layout's index is meant; nothing given: the only one. */
export interface LayoutChoice {
  name?: string;
  index?: number;
}

/** An image in an OCI layout (image-spec, image-layout.md), in a folder or a tar. */
export class OciLayoutSource implements ImageSource {
  readonly what: string;
  readonly #files: LayoutFiles;
  readonly #choice: LayoutChoice;
  #root: Promise<{ document: ImageDocument; named: Descriptor; index: Descriptor[] }> | undefined;

  /** @param files are the source's from here on */
  constructor(files: LayoutFiles, choice: LayoutChoice, what: string) {
    this.what = what;
    this.#files = files;
    this.#choice = choice;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#files[Symbol.dispose]();
  }

  async root(): Promise<ImageDocument> {
    return (await this.#open()).document;
  }

  manifest(descriptor: Descriptor): Promise<ImageDocument> {
    return this.#document(descriptor);
  }

  blob(descriptor: Descriptor, range?: BlobRange): AsyncGenerator<Uint8Array, void, void> {
    return fileBlob(this.#files, blobName(descriptor.digest), descriptor, range);
  }

  async referrers(digest: Digest): Promise<Descriptor[]> {
    const { index } = await this.#open();
    const found: Descriptor[] = [];
    for (const descriptor of index) {
      if (!isManifestType(descriptor.mediaType) && !isIndexType(descriptor.mediaType)) continue;
      const { bytes } = await this.#document(descriptor);
      if (subjectOf(bytes) === digest) found.push(descriptor);
    }
    return found;
  }

  async tagged(tag: string): Promise<ImageDocument | undefined> {
    const { index } = await this.#open();
    const descriptor = index.find(({ annotations }) => annotations?.[refName] === tag);
    return descriptor === undefined ? undefined : await this.#document(descriptor);
  }

  async signatures(): Promise<Buffer[]> {
    return [];
  }

  #open() {
    this.#root ??= (async () => {
      const index = await readLayoutIndex(this.#files, this.what);
      const named = chooseEntry(index, this.#choice, this.what);
      return { document: await this.#document(named), named, index };
    })();
    return this.#root;
  }

  async #document(descriptor: Descriptor): Promise<ImageDocument> {
    const what = `${this.what}: ${isIndexType(descriptor.mediaType) ? 'index' : 'manifest'} ${descriptor.digest}`;
    const name = blobName(descriptor.digest);
    requireManifestSize(this.#files.size(name) ?? 0, what);
    const bytes = await readWhole(this.#files, name);
    if (bytes === undefined) throw missingBlob(descriptor, this.what);
    return checkedDocument(bytes, { ...descriptor }, what);
  }
}

/** The entries of a layout's `index.json`. @throws {TareError} InvalidArgument: it is no layout */
export async function readLayoutIndex(files: LayoutFiles, what: string): Promise<Descriptor[]> {
  const bytes = await readWhole(files, 'index.json');
  if (bytes === undefined) {
    throw new TareError('InvalidArgument', `${what} has no index.json: it is not an OCI image layout`);
  }
  const index = parseManifest(bytes, `${what}: index.json`);
  if (index.kind === 'index') return index.manifests;
  throw new TareError('InvalidArgument', `${what}: index.json is a manifest: want an image index`);
}

function chooseEntry(index: readonly Descriptor[], { name, index: position }: LayoutChoice, what: string): Descriptor {
  if (position !== undefined) {
    const entry = index[position];
    if (entry !== undefined) return entry;
    throw new TareError('NotFound', `${what}: index.json has ${index.length} entries, counted from 0`);
  }
  if (name !== undefined) {
    const entry = index.find((descriptor) => isNamed(descriptor, name));
    if (entry !== undefined) return entry;
    throw new TareError('NotFound', `${what}: index.json names no ${JSON.stringify(name)}${offering(index)}`);
  }
  const images = new Map(mainEntries(index).map((descriptor) => [descriptor.digest, descriptor]));
  const [only, second] = images.values();
  if (only === undefined) throw new TareError('NotFound', `${what} holds no image`);
  if (second === undefined) return only;
  throw new TareError('InvalidArgument', `${what} holds ${images.size} images: say which${offering(index)}`);
}

/** Entries that a layout is about: what was attached to them lies beside them. With names in it, the named ones. */
function mainEntries(index: readonly Descriptor[]): readonly Descriptor[] {
  const isAttached = ({ artifactType, annotations }: Descriptor) =>
    artifactType !== undefined || /^sha256-[0-9a-f]{64}(\.|$)/.test(annotations?.[refName] ?? '');
  const images = index.filter((entry) => !isAttached(entry));
  const named = images.filter(({ annotations }) => annotations?.[refName] !== undefined);
  return named.length > 0 ? named : images.length > 0 ? images : index;
}

function isNamed({ annotations }: Descriptor, name: string): boolean {
  if (annotations?.[refName] === name) return true;
  const whole = annotations?.[containerdName];
  return whole !== undefined && whole === canonicalOf(name);
}

function canonicalOf(text: string): string | undefined {
  try {
    return canonical(withDefaultTag(parseReference(text)));
  } catch {
    return undefined;
  }
}

function offering(index: readonly Descriptor[]): string {
  const names = index.flatMap(({ annotations }) => annotations?.[refName] ?? []);
  if (names.length === 0) return index.length === 0 ? '' : `: want @N, with N from 0 to ${index.length - 1}`;
  const shown = names.slice(0, 10).map((name) => JSON.stringify(name));
  return `: it has ${shown.join(', ')}${names.length > shown.length ? ', …' : ''}`;
}

/** The digest that a manifest names as its subject, if any. */
function subjectOf(bytes: Buffer): string | undefined {
  const document: unknown = JSON.parse(bytes.toString('utf8'));
  const subject = (document as { subject?: { digest?: unknown } | null } | null)?.subject;
  return typeof subject?.digest === 'string' ? subject.digest : undefined;
}
