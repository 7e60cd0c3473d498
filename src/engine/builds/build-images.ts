import type { BuildImages, BuildSession, BuiltImage, PulledImage } from '../../build/index.ts';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import {
  type Credentials,
  canonical,
  chooseManifest,
  type DocumentPlaces,
  documentBudget,
  familiar,
  findRoot,
  isStored,
  MAX_CONFIG_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  type Progress,
  parseAnyReference,
  parseImageConfig,
  parseManifest,
  parseReference,
  pullImage,
  type Reference,
  type Registries,
  type RemoteDocument,
  type RepositoryReader,
  readConfig,
  requireImage,
  type StoredImage,
  withDefaultTag,
} from '../../image/index.ts';
import type { Descriptor, Digest, Platform } from '../../storage/index.ts';
import { blobSources } from '../blob-sources.ts';
import { commitName } from '../image-commit.ts';
import { knownLayers } from '../image-load.ts';
import type { ImageParts } from '../image-parts.ts';
import { recordWithVariants } from '../image-pulled.ts';
import { everyImage, imageEvent, putName, type RecordedImage } from '../image-records.ts';
import { findNamed, resolveImage } from '../image-resolve.ts';
import { variantFor } from '../image-variants.ts';
import { recordPush } from '../push-records.ts';

/** What images of builds need beside the parts of images. */
export interface BuildImageParts extends ImageParts {
  /** Registries whose certificates are not checked. */
  insecureRegistries(): Promise<Registries>;
  /** Holds the caller at work to the registries that he may use. @returns asked of each repository @throws {TareError} Forbidden */
  registryCheck?(): (reference: Reference) => void;
}

/** The name under which clients keep credentials of docker.io for builders. */
const HUB = 'registry-1.docker.io';

/**
 * Images as builds see them. What is pulled for a build is no image of its own: it has no record and no name, and is kept by
 * what the build makes of it.
 */
export function openBuildImages(parts: BuildImageParts): BuildImages {
  return {
    resolve: async (ref, options) => {
      const reference = checked(parts, ref);
      const { mode, platform, source, signal } = options;
      const isWanted = mode !== 'pull' && source === undefined;
      const stored = isWanted ? await resolveStored(parts, reference, platform) : undefined;
      if (stored !== undefined) return stored;
      let remote: RemoteRoot;
      try {
        remote = await remoteRoot(parts, reference, options);
      } catch (error) {
        signal.throwIfAborted();
        // As BuildKit with images in containerd's store: one that nobody else has is taken as it is. Its platform is for frontends to warn of.
        const other = isWanted ? await resolveStored(parts, reference) : undefined;
        if (other !== undefined) return other;
        throw explained(error, reference);
      }
      return await resolveRemote(parts, reference, remote, options);
    },
    pull: (ref, manifest, options) => pull(parts, checked(parts, ref), manifest, options),
    stored: async (ref) => {
      const image = imageHere(parts, ref);
      if (image === undefined) return undefined;
      await parts.trust?.checkRun(image, ref);
      return (await parts.content.has(image.manifest.digest)) ? image.manifest : undefined;
    },
    repository: async (ref, { insecure = false, sessions }) => {
      const reference = checked(parts, ref);
      const registries = await (insecure ? parts.insecureRegistries() : parts.registries());
      return registries.repository(reference, await credentialsFor(reference, sessions));
    },
    layerBlobs: async (diffID) => {
      const found = new Map<Digest, Descriptor>();
      for (const { layers } of everyImage(parts.db)) {
        for (const layer of layers) {
          if (layer.diffID !== diffID || found.has(layer.digest)) continue;
          const { digest, mediaType, blobBytes: size } = layer;
          if (await parts.content.has(digest)) found.set(digest, { mediaType, digest, size });
        }
      }
      return [...found.values()];
    },
    blobSources: (digest, domain) => blobSources(parts.db, digest, domain),
    pushed: async (ref, sent) => {
      const parsed = parseReference(ref);
      const name = parsed.tag === undefined ? { ...parsed, digest: sent.root } : parsed;
      await parts.db.write((tx) => {
        const named = findNamed(tx, name);
        const isSent = named !== undefined && [named.index?.digest, named.manifest.digest].includes(sent.root);
        recordPush(tx, name, isSent ? named : undefined, sent);
      });
    },
    record: (image, options) => record(parts, image, options),
  };
}

function checked(parts: BuildImageParts, ref: string): Reference {
  const reference = withDefaultTag(parseReference(ref));
  parts.registryCheck?.()(reference);
  return reference;
}

function imageHere(parts: BuildImageParts, ref: string): RecordedImage | undefined {
  const parsed = parseAnyReference(ref);
  if ('name' in parsed) parts.registryCheck?.()(parsed.name);
  try {
    return resolveImage(parts.db, ref);
  } catch (error) {
    if (kindOf(error) === 'NotFound') return undefined;
    throw error;
  }
}

/** The first of the clients that knows somebody there. */
async function credentialsFor(
  { domain }: Reference,
  sessions: readonly BuildSession[],
): Promise<Credentials | undefined> {
  for (const session of sessions) {
    const found = await session.credentials(domain === 'docker.io' ? HUB : domain);
    if (found === undefined || found.secret === '') continue;
    // Clients send an identity token without a user.
    return found.username === ''
      ? { identityToken: found.secret }
      : { username: found.username, password: found.secret };
  }
  return undefined;
}

type Resolved = Awaited<ReturnType<BuildImages['resolve']>>;

/**
 * An image that is here; undefined: there is none for this platform, or its documents are lost.
 * @param platform without it, whatever the image is for, if it is for one
 */
async function resolveStored(
  parts: BuildImageParts,
  reference: Reference,
  platform?: Platform,
): Promise<Resolved | undefined> {
  const named = findNamed(parts.db, reference) ?? taggedWith(parts, reference);
  if (named === undefined || named.isRetired) return undefined;
  if (platform === undefined && named.index !== undefined) return undefined;
  let image: RecordedImage;
  try {
    image = platform === undefined ? named : variantFor(parts.db, named, platform, familiar(reference));
  } catch (error) {
    if (kindOf(error) === 'NotFound') return undefined;
    throw error;
  }
  await parts.trust?.checkRun(image, familiar(reference));
  if (!(await parts.content.has(image.manifest.digest)) || !(await parts.content.has(image.id))) return undefined;
  return {
    ref: canonical(reference),
    indexOrManifest: image.index?.digest ?? image.manifest.digest,
    manifest: image.manifest,
    config: await parts.content.read(image.id, MAX_CONFIG_BYTES),
  };
}

/** By a tag with the digest that it has here: a frontend that asked for the tag asks for both then. */
function taggedWith({ db }: BuildImageParts, { digest, ...name }: Reference): RecordedImage | undefined {
  const named = digest === undefined || name.tag === undefined ? undefined : findNamed(db, name);
  return named !== undefined && (named.index ?? named.manifest).digest === digest ? named : undefined;
}

type ResolveOptions = Parameters<BuildImages['resolve']>[1];

/** What a reference stands for, and who has it. */
interface RemoteRoot {
  at: RepositoryReader;
  root: RemoteDocument;
  sources: readonly RepositoryReader[];
  places: DocumentPlaces;
}

async function remoteRoot(
  parts: BuildImageParts,
  reference: Reference,
  { sessions, signal, source }: ResolveOptions,
): Promise<RemoteRoot> {
  const sources = source === undefined ? await sourcesOf(parts, reference, sessions) : [source];
  const places = { content: parts.content, reference, sources, budget: documentBudget(), signal };
  return { ...((await storedRoot(parts, reference, sources)) ?? (await findRoot(places))), sources, places };
}

async function resolveRemote(
  parts: BuildImageParts,
  reference: Reference,
  { at, root, sources, places }: RemoteRoot,
  { platform, signal, source }: ResolveOptions,
): Promise<Resolved> {
  const { content } = parts;
  try {
    const chain = await chooseManifest({ ...places, sources: [at, ...sources] }, root, platform);
    if (source === undefined) await parts.trust?.checkPull(at, reference, chain, signal);
    else await parts.trust?.checkLoad([{ transport: 'oci' }]);
    const chosen = chain.at(-1)!;
    const manifest = parseManifest(chosen.bytes, canonical(reference), chosen.descriptor.mediaType) as Manifest;
    requireImage(manifest, canonical(reference));
    for (const { bytes } of chain) await content.put(bytes);
    return {
      ref: canonical(reference),
      indexOrManifest: root.descriptor.digest,
      manifest: chosen.descriptor,
      config: await fetchConfig(parts, [at, ...sources], reference, manifest, signal),
    };
  } catch (error) {
    signal.throwIfAborted();
    throw explained(error, reference);
  }
}

const sourcesOf = async (parts: BuildImageParts, reference: Reference, sessions: readonly BuildSession[]) =>
  (await parts.registries()).sources(reference, await credentialsFor(reference, sessions));

/** A digest says what is meant: whoever has the document need not ask for it. */
async function storedRoot(
  { content }: BuildImageParts,
  { digest, ...name }: Reference,
  [at]: readonly RepositoryReader[],
): Promise<{ at: RepositoryReader; root: RemoteDocument } | undefined> {
  if (digest === undefined || at === undefined || !(await content.has(digest))) return undefined;
  const bytes = await content.read(digest, MAX_MANIFEST_BYTES);
  const { mediaType } = parseManifest(bytes, canonical({ ...name, digest }));
  return { at, root: { descriptor: { mediaType, digest, size: bytes.byteLength }, bytes } };
}

async function fetchConfig(
  { content, downloads }: BuildImageParts,
  sources: readonly RepositoryReader[],
  reference: Reference,
  { config }: Manifest,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const what = canonical(reference);
  if (config.size > MAX_CONFIG_BYTES) {
    throw new TareError(
      'InvalidArgument',
      `${what}: its config has ${config.size} bytes, at most ${MAX_CONFIG_BYTES} are allowed`,
    );
  }
  if (!(await isStored(content, config, what))) await downloads.fetch(sources, config, { signal });
  const bytes = await content.read(config.digest, MAX_CONFIG_BYTES);
  parseImageConfig(bytes, what);
  return bytes;
}

/** Words of builders, by which clients tell a wrong name from a registry in trouble. */
function explained(error: unknown, reference: Reference): unknown {
  const kind = kindOf(error);
  const what = canonical(reference);
  if (kind === 'Unauthorized' || kind === 'Forbidden') {
    if (!messageOf(error).startsWith('registry ')) return error;
    const problem = `${what}: pull access denied, repository does not exist or may require authorization: ${messageOf(error)}`;
    return new TareError(kind, problem, { cause: error });
  }
  if (kind === 'NotFound' && !messageOf(error).includes('no matching manifest'))
    return new TareError('NotFound', `${what}: not found: ${messageOf(error)}`, { cause: error });
  return error;
}

async function pull(
  parts: BuildImageParts,
  reference: Reference,
  manifest: Descriptor,
  { sessions, signal, source, progress }: Parameters<BuildImages['pull']>[2],
): Promise<PulledImage> {
  const what = canonical(reference);
  const bytes = await parts.content.read(manifest.digest, MAX_MANIFEST_BYTES);
  const { layers } = parseManifest(bytes, what, manifest.mediaType) as Manifest;
  const sources = source === undefined ? await sourcesOf(parts, reference, sessions) : [source];
  const tell = layerProgress(layers, progress);
  const fetching = pullImage(parts, parts.downloads, sources, reference, {
    root: { descriptor: manifest, bytes },
    known: knownLayers(parts),
    signal,
  });
  for (;;) {
    const step = await fetching.next();
    if (step.done) {
      const { image } = step.value;
      return { layers: image.layers.map(({ diffID }, index) => ({ diffID, descriptor: layers[index]! })) };
    }
    tell(step.value);
  }
}

/** A pull's words as a builder's: a line for a layer's bytes, another for its unpacking. */
function layerProgress(
  layers: readonly Descriptor[],
  progress: Parameters<BuildImages['pull']>[2]['progress'],
): (step: Progress) => void {
  const byShortName = new Map(layers.map((layer) => [layer.digest.slice('sha256:'.length).slice(0, 12), layer]));
  return ({ id, status, currentBytes = 0 }) => {
    const layer = byShortName.get(id ?? '');
    if (layer === undefined) return;
    const { digest, size } = layer;
    if (status === 'Pulling fs layer') progress(digest, 0, size);
    else if (status === 'Downloading') progress(digest, Math.min(currentBytes, size - 1), size);
    else if (status === 'Download complete' || status === 'Already exists') progress(digest, size, size);
    else if (status === 'Extracting') progress(`extracting ${digest}`, 0, size);
    else if (status === 'Pull complete') progress(`extracting ${digest}`, size, size);
  };
}

async function record(
  parts: BuildImageParts,
  made: BuiltImage,
  { index, others = [], names: texts = [] }: NonNullable<Parameters<BuildImages['record']>[1]> = {},
): Promise<string> {
  const names = texts.map(madeName);
  const what = names[0] === undefined ? made.config : familiar(names[0]);
  const image = await storedImage(parts, made, what);
  const variants = await Promise.all(others.map((other) => storedImage(parts, other, what)));
  await parts.db.write((tx) => {
    recordWithVariants(tx, image, index, variants);
    for (const name of names) {
      putName(tx, name, image.id, parts.now(), index?.digest ?? made.manifest.digest);
      imageEvent(tx, 'tag', image, familiar(name));
    }
  });
  return image.id;
}

/** A digest in a name is that of what was made, which the builder has seen to. */
function madeName(text: string): Reference {
  const name = parseReference(text);
  return name.digest === undefined ? commitName(text) : name;
}

async function storedImage(parts: BuildImageParts, made: BuiltImage, what: string): Promise<StoredImage> {
  const { mediaType, digest, size } = made.manifest;
  const { sizeBytes } = await parts.content.info(made.config);
  return {
    id: made.config,
    manifest: { mediaType, digest, size },
    config: await readConfig(parts.content, { digest: made.config, sizeBytes }, what),
    layers: await Promise.all(
      made.layers.map(async ({ diffID, descriptor: { digest, mediaType, size: blobBytes } }) => {
        const { sizeBytes: unpackedBytes } = await parts.layers.layer(diffID);
        return { digest, diffID, mediaType, blobBytes, unpackedBytes };
      }),
    ),
  };
}
