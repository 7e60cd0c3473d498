import { canonicalName, type Reference } from '../reference.ts';
import type { PolicyDocument, Requirement } from './requirement.ts';

/** Where an image is being taken from. */
export interface ImageOrigin {
  /** As in `policy.json`: docker, docker-archive, oci, oci-archive, dir, containers-storage. */
  transport: string;
  /** The name it is asked for by, with a tag or a digest. */
  reference?: Reference;
  /** Absolute, of what lies on this machine; `PATH:TAG` for one image of a layout. */
  path?: string;
}

/** The requirements that apply, and the scope that named them. */
export interface Applicable {
  /** For messages: `docker "docker.io/library"`, `default`. */
  scope: string;
  requirements: readonly Requirement[];
}

/** Requirements of the most specific scope alone; undefined: neither the transport nor the default has any. */
export function requirementsFor(policy: PolicyDocument, origin: ImageOrigin): Applicable {
  return (
    scopedRequirements(policy, origin) ?? {
      scope: 'default',
      requirements: policy.default,
    }
  );
}

/** Those of the transport's own scopes; undefined: none matches. */
export function scopedRequirements(policy: PolicyDocument, origin: ImageOrigin): Applicable | undefined {
  const scopes = policy.transports.get(origin.transport);
  if (scopes === undefined) return undefined;
  for (const scope of scopesOf(origin)) {
    const requirements = scopes.get(scope);
    if (requirements !== undefined) return { scope: `${origin.transport} ${JSON.stringify(scope)}`, requirements };
  }
  return undefined;
}

/** The scopes that an image is in, the most specific first, the transport's own ("") last. */
export function scopesOf({ reference, path }: ImageOrigin): string[] {
  const named = reference === undefined ? [] : referenceScopes(reference);
  return [...named, ...(path === undefined ? [] : pathScopes(path)), ''];
}

/** @see containers-policy.json(5), "docker:" */
function referenceScopes(reference: Reference): string[] {
  const name = canonicalName(reference);
  const { tag, digest, domain } = reference;
  const scopes = digest === undefined ? [] : [`${name}@${digest}`];
  // A digest says exactly which image is meant; the tag beside it is a comment.
  if (tag !== undefined && digest === undefined) scopes.push(`${name}:${tag}`);
  for (let end = name.length; end > 0; end = name.lastIndexOf('/', end - 1)) scopes.push(name.slice(0, end));
  const host = domain.replace(/:[0-9]+$/, '');
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) scopes.push(`*${host.slice(dot)}`);
  return scopes;
}

function pathScopes(path: string): string[] {
  const scopes = [path];
  const folder = path.replace(/:[^/]*$/, '');
  if (folder !== path) scopes.push(folder);
  for (let end = folder.lastIndexOf('/'); end > 0; end = folder.lastIndexOf('/', end - 1)) {
    scopes.push(folder.slice(0, end));
  }
  return scopes;
}
