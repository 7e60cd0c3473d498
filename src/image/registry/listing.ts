import { TareError } from '../../errors/index.ts';
import { listAt, objectAt, optional, parseJson, textAt } from '../json.ts';
import { type Place, pullScope } from './manifests.ts';
import type { RequestOptions, SearchResult } from './registry.ts';
import { RegistryError } from './registry-error.ts';
import type { RegistryHost } from './registry-host.ts';
import { nextLink } from './response-headers.ts';

const PAGE_ENTRIES = 1000;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const repositoryPattern = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;

interface Listing {
  what: string;
  path: string;
  /** Of the list in a page. */
  field: string;
  scopes: readonly string[];
  isName(text: string): boolean;
}

/** All pages of a list, in order, each name once in a row. @see distribution-spec, "Listing Tags" */
async function* pages(host: RegistryHost, list: Listing, signal: AbortSignal | undefined): AsyncGenerator<string> {
  const { what, scopes } = list;
  const { pageBytes, listEntries } = host.limits;
  let path: string | URL = list.path;
  let total = 0;
  const seen = new Set<string>();
  while (true) {
    using response = await host.call({ what, method: 'GET', path, scopes, wanted: [200], signal });
    const label = `registry ${host.domain}: ${what}`;
    const bytes = await host.read(what, response, pageBytes);
    const document = objectAt(parseJson(bytes, label, pageBytes), label);
    const names = optional(document[list.field], `${label}: ${list.field}`, (value, where) =>
      listAt(value, where, textAt, listEntries),
    );
    for (const name of names ?? []) {
      total += 1;
      if (total > listEntries) throw tooMany(host, what, listEntries);
      if (!list.isName(name))
        throw new TareError('InvalidArgument', `${label}: ${JSON.stringify(name.slice(0, 200))} is no name`);
      yield name;
    }
    const next = nextLink(response.header('link'));
    if (next === undefined) return;
    path = host.ownLink(what, response, next);
    // A list that leads back to a page of its own, or on through empty ones, would not end.
    if (seen.has(path.href) || seen.size > listEntries / 10) throw tooMany(host, what, listEntries);
    seen.add(path.href);
  }
}

const tooMany = (host: RegistryHost, what: string, limit: number) =>
  new RegistryError('InvalidArgument', host.purpose(what), `its pages do not end, or hold over ${limit} names`);

export const listTags = (place: Place, { signal }: RequestOptions = {}): AsyncGenerator<string> =>
  pages(
    place.host,
    {
      what: `tags of ${place.name.path}`,
      path: `/v2/${place.name.path}/tags/list?n=${PAGE_ENTRIES}`,
      field: 'tags',
      scopes: pullScope(place),
      isName: (text) => tagPattern.test(text),
    },
    signal,
  );

/** @throws {TareError} Unsupported: this registry has no catalog */
export async function* listCatalog(host: RegistryHost, { signal }: RequestOptions = {}): AsyncGenerator<string> {
  const list = {
    what: 'catalog',
    path: `/v2/_catalog?n=${PAGE_ENTRIES}`,
    field: 'repositories',
    scopes: ['registry:catalog:*'],
    isName: (text: string) => text.length <= 255 && repositoryPattern.test(text),
  };
  try {
    yield* pages(host, list, signal);
  } catch (error) {
    if (!(error instanceof RegistryError) || (error.status !== 404 && error.status !== 405)) throw error;
    const problem = 'this registry has no catalog; name the repository';
    throw new RegistryError('Unsupported', host.purpose('catalog'), problem, { status: error.status, cause: error });
  }
}

/** @throws {TareError} Unsupported: this registry has no search */
export async function searchRegistry(
  host: RegistryHost,
  term: string,
  limit: number,
  { signal }: RequestOptions = {},
): Promise<SearchResult[]> {
  const what = `search for ${JSON.stringify(term)}`;
  const label = `registry ${host.domain}: ${what}`;
  const query = new URLSearchParams({ q: term, n: String(limit) });
  using response = await host
    .call({ what, method: 'GET', path: `/v1/search?${query}`, scopes: [], wanted: [200], signal })
    .catch((error: unknown) => {
      if (!(error instanceof RegistryError) || (error.status !== 404 && error.status !== 405)) throw error;
      const problem = 'this registry has no search';
      throw new RegistryError('Unsupported', host.purpose(what), problem, { status: error.status, cause: error });
    });
  const bytes = await host.read(what, response, host.limits.pageBytes);
  const document = objectAt(parseJson(bytes, label, host.limits.pageBytes), label);
  const results = optional(document['results'], `${label}: results`, (value, where) =>
    listAt(value, where, searchResult, 10_000),
  );
  return (results ?? []).slice(0, limit);
}

function searchResult(value: unknown, where: string): SearchResult {
  const entry = objectAt(value, where);
  const stars = entry['star_count'];
  return {
    name: textAt(entry['name'], `${where}.name`),
    description: optional(entry['description'], `${where}.description`, textAt) ?? '',
    stars: Number.isSafeInteger(stars) ? (stars as number) : 0,
    isOfficial: entry['is_official'] === true,
    isAutomated: entry['is_automated'] === true,
  };
}
