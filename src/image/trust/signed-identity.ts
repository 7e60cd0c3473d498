import { canonical, canonicalName, parseReference, type Reference } from '../reference.ts';
import type { IdentityRule } from './requirement.ts';

/**
 * Why the name in a signature does not fit the image; undefined: it fits.
 *
 * @param image the name that the image is asked for by; undefined: its transport has no names
 * @param signed the name in the signature; undefined: it has none
 * @see containers-policy.json(5), "signedIdentity"
 */
export function identityMismatch(
  rule: IdentityRule,
  image: Reference | undefined,
  signed: string | undefined,
): string | undefined {
  if (rule.type === 'matchDigestOnly') return undefined;
  if (signed === undefined || signed === '') {
    return `the signature names no image, but ${rule.type} compares names (matchDigestOnly does not)`;
  }
  let claimed: Reference;
  try {
    claimed = parseReference(signed);
  } catch {
    return `the signature is for ${JSON.stringify(signed)}, which is no reference`;
  }
  if (fits(rule, image, claimed)) return undefined;
  const own = image === undefined ? 'an image without a name' : canonical(image);
  return `the signature is for ${canonical(claimed)}, which ${rule.type} does not take for ${own}`;
}

function fits(rule: IdentityRule, image: Reference | undefined, signed: Reference): boolean {
  switch (rule.type) {
    case 'exactReference':
      return canonical(parseReference(rule.dockerReference)) === canonical(signed);
    case 'exactRepository':
      return canonicalName(parseReference(rule.dockerRepository)) === canonicalName(signed);
    case 'matchRepository':
      return image !== undefined && canonicalName(image) === canonicalName(signed);
    case 'matchExact':
      return image !== undefined && matchesExactly(image, signed);
    case 'matchRepoDigestOrExact':
      return image !== undefined && matchesRepoDigestOrExact(image, signed);
    case 'remapIdentity':
      return image !== undefined && matchesRepoDigestOrExact(remapped(rule, image), signed);
    case 'matchDigestOnly':
      return true;
  }
}

/** Same repository and same tag. By digest nothing matches: a digest is no name that a signer chose. */
const matchesExactly = (image: Reference, signed: Reference): boolean =>
  image.digest === undefined &&
  image.tag !== undefined &&
  signed.digest === undefined &&
  image.tag === signed.tag &&
  canonicalName(image) === canonicalName(signed);

const matchesRepoDigestOrExact = (image: Reference, signed: Reference): boolean =>
  image.digest === undefined ? matchesExactly(image, signed) : canonicalName(image) === canonicalName(signed);

function remapped({ prefix, signedPrefix }: { prefix: string; signedPrefix: string }, image: Reference): Reference {
  const name = canonicalName(image);
  if (name !== prefix && !name.startsWith(`${prefix}/`)) return image;
  // A repository's name could become a bare host, which is no name.
  const renamed = signedPrefix + name.slice(prefix.length);
  const slash = renamed.indexOf('/');
  if (slash < 0) return { ...image, domain: renamed, path: '' };
  return { ...image, domain: renamed.slice(0, slash), path: renamed.slice(slash + 1) };
}
