import { kindOf, TareError } from '../errors/index.ts';
import {
  acceptsEverything,
  canonical,
  findPolicyFile,
  parseAnyReference,
  type Reference,
  type RemoteDocument,
  type RepositoryReader,
  withDefaultTag,
} from '../image/index.ts';
import type { FoundSignature, ImageOrigin, PolicySubject, Requirement, SignaturePolicy } from '../image/trust/index.ts';
import type { ContentStore, Descriptor } from '../storage/index.ts';
import type { TrustSettings } from './config.ts';
import { parseOrigin } from './image-origin.ts';
import type { RecordedImage } from './image-records.ts';
import { keptSignatures, manifestsOf } from './image-signatures.ts';

/** Asks the signature policy before an image is stored, and again before it runs. */
export interface ImageTrust {
  /**
   * @param documents what a pull found: the root document, and the manifest that was chosen from it
   * @returns documents in the store that speak for the image: the signatures by which it passed
   * @throws {TareError} Forbidden: the scope, the requirement, and why it does not hold
   */
  checkPull(
    source: RepositoryReader,
    reference: Reference,
    documents: readonly RemoteDocument[],
    signal?: AbortSignal,
  ): Promise<Descriptor[]>;
  /**
   * Whether an archive or a folder may be loaded. One that is of two formats at once passes as either.
   * @throws {TareError} Forbidden
   */
  checkLoad(origins: readonly ImageOrigin[]): Promise<void>;
  /**
   * Whether an image that is here may run: as if it came now the way that it came, with the signatures that were kept.
   * @param asked the user's word for it
   * @throws {TareError} Forbidden
   */
  checkRun(image: RecordedImage, asked: string): Promise<void>;
}

export function openTrust(content: Pick<ContentStore, 'put' | 'read'>, settings: TrustSettings): ImageTrust {
  const policy = async (): Promise<SignaturePolicy | undefined> => {
    const path = findPolicyFile(settings.signaturePolicy);
    if (path === undefined || acceptsEverything(path)) return undefined;
    const { readPolicy } = await import('../image/trust/index.ts');
    return readPolicy(path);
  };
  return {
    checkPull: async (source, reference, documents, signal) => {
      const found = await policy();
      const origin: ImageOrigin = { transport: 'docker', reference };
      if (found === undefined || found.acceptsAnything(origin)) return [];
      const kinds = new Set(found.applicable(origin).requirements.map(({ type }) => type));
      const { keepSignatures } = await import('../image/trust/index.ts');
      const passedBy = await found.require({
        ...{ origin, reference },
        manifests: documents.map(({ descriptor, bytes }) => ({ digest: descriptor.digest, bytes: async () => bytes })),
        signatures: () => signaturesInRegistry(source, reference, documents, settings, kinds, signal),
      });
      return await keepSignatures(
        content,
        passedBy.map(({ signature }) => signature),
      );
    },
    checkLoad: async (origins) => {
      const found = await policy();
      if (found === undefined) return;
      await passesAny(origins, (origin) => found.require({ origin, manifests: [], signatures: async () => [] }));
    },
    checkRun: async (image, asked) => {
      const found = await policy();
      if (found !== undefined) await requireRunnable(content, found, image, asked);
    },
  };
}

/**
 * Signatures that a registry and its lookaside have for documents.
 * @param wanted kinds of requirements that ask for them
 */
export async function signaturesInRegistry(
  source: RepositoryReader,
  reference: Reference,
  documents: readonly RemoteDocument[],
  { registriesFolder }: TrustSettings,
  wanted: ReadonlySet<Requirement['type']> = new Set(['signedBy', 'sigstoreSigned']),
  signal?: AbortSignal,
): Promise<FoundSignature[]> {
  const trust = await import('../image/trust/index.ts');
  const found: FoundSignature[] = [];
  const options = signal === undefined ? {} : { signal };
  const lookaside = await trust.lookasideOf(trust.lookasideFolder(registriesFolder), reference);
  for (const { descriptor } of documents) {
    found.push(...(await trust.lookasideSignatures(lookaside, reference, descriptor.digest, options)));
    if (wanted.has('sigstoreSigned'))
      found.push(...(await trust.repositorySignatures(source, descriptor.digest, options)));
  }
  return found;
}

async function requireRunnable(
  content: Pick<ContentStore, 'read'>,
  policy: SignaturePolicy,
  image: RecordedImage,
  asked: string,
): Promise<void> {
  const subject: Omit<PolicySubject, 'origin' | 'reference'> = {
    manifests: manifestsOf(content, image),
    signatures: () => keptSignatures(content, image),
  };
  const require = async (origin: ImageOrigin) => {
    const scoped = origin.transport === 'containers-storage' ? policy.scoped(origin) : policy.applicable(origin);
    const { reference } = origin;
    const named = reference === undefined ? subject : { ...subject, reference };
    if (scoped !== undefined) await policy.requireAll({ ...named, origin }, scoped);
  };
  const origins = image.origins.map(parseOrigin);
  try {
    // Whoever has rules for what is stored here means those.
    const stored = namesOf(image, asked).map((reference) => ({ transport: 'containers-storage', reference }));
    const ruled = stored.filter((origin) => policy.scoped(origin) !== undefined);
    // Without an origin it was made here: built, committed, imported.
    await passesAny(ruled.length > 0 ? ruled : origins, require);
  } catch (error) {
    const { PolicyRefusal } = await import('../image/trust/index.ts');
    if (!(error instanceof PolicyRefusal)) throw error;
    const isPulled = error.requirement !== 'reject' && origins.some(({ transport }) => transport === 'docker');
    const hint = isPulled ? ' (its signatures are those that it was pulled with; pull it again for newer ones)' : '';
    throw new TareError('Forbidden', `cannot run ${asked}: ${error.message}${hint}`, { cause: error });
  }
}

/** The same bytes came several ways: they are good if one of these is. */
async function passesAny(
  origins: readonly ImageOrigin[],
  require: (origin: ImageOrigin) => Promise<unknown>,
): Promise<void> {
  let refusal: unknown;
  for (const origin of origins) {
    try {
      await require(origin);
      return;
    } catch (error) {
      if (kindOf(error) !== 'Forbidden') throw error;
      refusal ??= error;
    }
  }
  if (refusal !== undefined) throw refusal;
}

/** The name that a user said, if it is the image's; else all of its names, or none. */
function namesOf(image: RecordedImage, asked: string): (Reference | undefined)[] {
  const said = nameIn(asked);
  // Another platform of an image goes by that one's name.
  const isOwn = said !== undefined && image.references.some((name) => canonical(name) === canonical(said));
  if (said !== undefined && (isOwn || image.isVariant)) return [said];
  return image.references.length > 0 ? image.references : [undefined];
}

function nameIn(asked: string): Reference | undefined {
  const parsed = parseAnyReference(asked);
  if ('id' in parsed) return undefined;
  const { domain, path, digest } = parsed.name;
  // A digest says more than the tag beside it.
  return digest === undefined ? withDefaultTag(parsed.name) : { domain, path, digest };
}
