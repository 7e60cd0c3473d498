import { kindOf, messageOf, TareError } from '../errors/index.ts';
import type { ContentStore, Descriptor, Platform } from '../storage/index.ts';
import { isAttestation, MAX_MANIFEST_BYTES, parseManifest } from './manifest.ts';
import { bestPlatform, formatPlatform } from './platform.ts';
import { canonical, familiar, type Reference } from './reference.ts';
import type { ManifestName, RemoteDocument, RepositoryReader } from './registry/registry.ts';
import { isStored } from './stored-blob.ts';

export const MAX_DEPTH = 4;
const MAX_DOCUMENTS = 1000;

/** How many documents one image may need. */
export const documentBudget = (): { documents: number } => ({ documents: MAX_DOCUMENTS });

/** Where the documents of an image are looked for: the store first, then the sources in their order. */
export interface DocumentPlaces {
  content: Pick<ContentStore, 'has' | 'info' | 'read'>;
  reference: Reference;
  sources: readonly RepositoryReader[];
  budget: { documents: number };
  signal: AbortSignal;
}

/** The document that a reference stands for, from the first source that has it. */
export async function findRoot({
  content,
  sources,
  reference,
  signal,
}: DocumentPlaces): Promise<{ at: RepositoryReader; root: RemoteDocument }> {
  const name: ManifestName =
    reference.digest === undefined ? { tag: reference.tag ?? 'latest' } : { digest: reference.digest };
  let failure: unknown;
  for (const source of sources) {
    try {
      const descriptor = await source.resolve(name, { signal });
      if (await content.has(descriptor.digest)) {
        const bytes = await content.read(descriptor.digest, MAX_MANIFEST_BYTES);
        return { at: source, root: { descriptor: { ...descriptor, size: bytes.byteLength }, bytes } };
      }
      return { at: source, root: await source.manifest({ digest: descriptor.digest }, { signal }) };
    } catch (error) {
      signal.throwIfAborted();
      if (kindOf(error) === 'Internal') throw error;
      failure = error;
    }
  }
  if (failure === undefined) throw new TareError('NotFound', `nobody to ask for ${familiar(reference)}`);
  if (kindOf(failure) !== 'NotFound') throw failure;
  // Docker's words, by which clients tell a wrong name from a registry in trouble.
  const problem = `manifest for ${familiar(reference)} not found: manifest unknown: ${messageOf(failure)}`;
  throw new TareError('NotFound', problem, { cause: failure });
}

/** A document below an index, from the store or the registry. */
export async function readDocument(places: DocumentPlaces, descriptor: Descriptor): Promise<RemoteDocument> {
  places.budget.documents -= 1;
  if (places.budget.documents < 0) {
    throw new TareError('InvalidArgument', `${canonical(places.reference)}: more than ${MAX_DOCUMENTS} documents`);
  }
  if (await isStored(places.content, descriptor, canonical(places.reference))) {
    return { descriptor, bytes: await places.content.read(descriptor.digest, MAX_MANIFEST_BYTES) };
  }
  let failure: unknown;
  for (const source of places.sources) {
    try {
      const { bytes } = await source.manifest({ digest: descriptor.digest }, { signal: places.signal });
      if (bytes.byteLength === descriptor.size) return { descriptor, bytes };
      throw new TareError(
        'InvalidArgument',
        `${canonical(places.reference)}: manifest ${descriptor.digest} has ${bytes.byteLength} bytes, its index says ${descriptor.size}`,
      );
    } catch (error) {
      places.signal.throwIfAborted();
      failure = error;
    }
  }
  throw failure;
}

/**
 * The documents from the root to the manifest for a platform.
 * @throws {TareError} NotFound: it has none for this platform, and which it has
 */
export async function chooseManifest(
  places: DocumentPlaces,
  root: RemoteDocument,
  wanted: Platform,
): Promise<RemoteDocument[]> {
  const chain = [root];
  const what = canonical(places.reference);
  for (;;) {
    const last = chain.at(-1)!;
    const document = parseManifest(last.bytes, `${what}: ${last.descriptor.digest}`, last.descriptor.mediaType);
    if (document.kind === 'manifest') return chain;
    if (chain.length >= MAX_DEPTH) {
      throw new TareError('InvalidArgument', `${what}: indexes are nested more than ${MAX_DEPTH} deep`);
    }
    const offered = document.manifests.filter((descriptor) => !isAttestation(descriptor));
    const anyOfSystem: Platform = { os: wanted.os, architecture: '' };
    const best = bestPlatform(offered, (descriptor) => descriptor.platform ?? anyOfSystem, wanted);
    if (best === undefined) {
      throw new TareError(
        'NotFound',
        `no matching manifest for ${formatPlatform(wanted)} in the manifest list entries of ${familiar(places.reference)}: it has ${platformsOf(offered)}`,
      );
    }
    chain.push(await readDocument(places, best));
  }
}

function platformsOf(descriptors: readonly Descriptor[]): string {
  const texts = descriptors.map(({ platform }) => (platform === undefined ? 'unknown' : formatPlatform(platform)));
  return texts.length === 0 ? 'none' : [...new Set(texts)].slice(0, 30).join(', ');
}
