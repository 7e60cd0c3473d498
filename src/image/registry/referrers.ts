import { TareError } from '../../errors/index.ts';
import { type Descriptor, type Digest, hexOf } from '../../storage/index.ts';
import { compact, listAt, objectAt, optional, parseJson, textAt, textMapAt } from '../json.ts';
import { MAX_MANIFEST_BYTES, mediaTypes, parseDescriptor } from '../manifest.ts';
import { fetchManifest, type Place, pullScope } from './manifests.ts';
import type { RequestOptions } from './registry.ts';
import { RegistryError } from './registry-error.ts';
import { nextLink } from './response-headers.ts';

const MAX_REFERRERS = 10_000;

/** Where a registry without the API keeps an index of referrers (distribution-spec, "Referrers Tag Schema"). */
const fallbackTag = (digest: Digest): string => `sha256-${hexOf(digest)}`;

export async function listReferrers(
  place: Place,
  digest: Digest,
  { artifactType, signal }: RequestOptions & { artifactType?: string } = {},
): Promise<Descriptor[]> {
  const all =
    (await referrersByApi(place, digest, artifactType, signal)) ?? (await referrersByTag(place, digest, signal));
  // A registry may filter, and need not.
  return artifactType === undefined ? all : all.filter((entry) => entry.artifactType === artifactType);
}

/** @returns undefined: the registry has no such API */
export async function referrersByApi(
  place: Place,
  digest: Digest,
  artifactType: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Descriptor[] | undefined> {
  const what = `referrers of ${place.name.path}@${digest}`;
  const query = artifactType === undefined ? '' : `?${new URLSearchParams({ artifactType })}`;
  let path: string | URL = `/v2/${place.name.path}/referrers/${digest}${query}`;
  const all: Descriptor[] = [];
  for (let page = 0; ; page += 1) {
    const wanted = page === 0 ? [200, 400, 404, 405, 501] : [200];
    const scopes = pullScope(place);
    using response = await place.host.call({ what, method: 'GET', path, scopes, wanted, signal });
    const isIndex = response.header('content-type')?.startsWith(mediaTypes.index) === true;
    // Some registries answer paths that they do not know with a page.
    if (page === 0 && (response.status !== 200 || !isIndex)) return undefined;
    const bytes = await place.host.read(what, response, place.host.limits.pageBytes);
    all.push(...referrersIn(bytes, `registry ${place.host.domain}: ${what}`));
    const next = nextLink(response.header('link'));
    if (next === undefined) return all;
    if (all.length > MAX_REFERRERS || page > MAX_REFERRERS / 10) {
      throw new RegistryError('InvalidArgument', place.host.purpose(what), `there are over ${MAX_REFERRERS} of them`);
    }
    path = place.host.ownLink(what, response, next);
  }
}

async function referrersByTag(place: Place, digest: Digest, signal: AbortSignal | undefined): Promise<Descriptor[]> {
  try {
    const { descriptor, bytes } = await fetchManifest(place, { tag: fallbackTag(digest) }, { signal: signal! });
    if (descriptor.mediaType !== mediaTypes.index) return [];
    return referrersIn(bytes, `registry ${place.host.domain}: referrers of ${place.name.path}@${digest}`);
  } catch (error) {
    if (error instanceof RegistryError && error.status === 404) return [];
    throw error;
  }
}

function referrersIn(bytes: Uint8Array, label: string): Descriptor[] {
  const document = objectAt(parseJson(bytes, label, MAX_MANIFEST_BYTES), label);
  const entries = optional(document['manifests'], `${label}: manifests`, (value, where) =>
    listAt(value, where, parseDescriptor, MAX_REFERRERS),
  );
  return entries ?? [];
}

/** What a manifest says of itself to whoever asks for its subject's referrers. */
export interface Referral {
  subject: Digest;
  /** As it stands in the index of referrers. */
  entry: Descriptor;
}

/** @returns undefined: it refers to nothing */
export function referralOf(bytes: Uint8Array, descriptor: Descriptor, label: string): Referral | undefined {
  const document = objectAt(parseJson(bytes, label, MAX_MANIFEST_BYTES), label);
  const subject = optional(document['subject'], `${label}: subject`, parseDescriptor);
  if (subject === undefined) return undefined;
  const config = optional(document['config'], `${label}: config`, parseDescriptor);
  return {
    subject: subject.digest,
    entry: compact({
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
      size: descriptor.size,
      artifactType: optional(document['artifactType'], `${label}: artifactType`, textAt) ?? config?.mediaType,
      annotations: optional(document['annotations'], `${label}: annotations`, textMapAt),
    }),
  };
}

/** Changes of one fallback tag wait for each other; those of other processes cannot. */
const changing = new Map<string, Promise<void>>();

/**
 * Puts a referral into its subject's fallback index, or takes it out.
 *
 * @param put stores the index under the tag
 */
export async function changeFallback(
  place: Place,
  { subject, entry }: Referral,
  change: 'add' | 'remove',
  put: (tag: string, bytes: Buffer) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const key = `${place.name.domain}/${place.name.path}@${subject}`;
  const before = changing.get(key) ?? Promise.resolve();
  const work = before
    .catch(() => {})
    .then(async () => {
      const listed = await referrersByTag(place, subject, signal);
      const others = listed.filter(({ digest }) => digest !== entry.digest);
      if (change === 'add' ? others.length < listed.length : others.length === listed.length) return;
      const manifests = change === 'add' ? [...others, entry] : others;
      const index = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.index, manifests }));
      if (index.length > MAX_MANIFEST_BYTES) {
        throw new TareError('InvalidArgument', `${key}: its referrers no longer fit into an index; delete old ones`);
      }
      await put(fallbackTag(subject), index);
    });
  changing.set(key, work);
  try {
    await work;
  } finally {
    if (changing.get(key) === work) changing.delete(key);
  }
}
