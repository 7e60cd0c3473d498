import { lstat, opendir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { TareError } from '../errors/index.ts';
import {
  type Credentials,
  canonicalName,
  familiarName,
  formatTransport,
  parseReference,
  parseTransport,
  type Reference,
  withTag,
} from '../image/index.ts';
import type { RegistryAccess } from './registries.ts';
import { readSyncFile } from './sync-file.ts';
import type { Transports } from './transports.ts';

/** What images a sync takes, and where it puts them. */
export interface SyncRequest {
  /** `docker`: a repository, or one image of it; `dir`: a folder of folders as `dir:` makes them; `yaml`: a file. */
  from: 'docker' | 'dir' | 'yaml';
  to: 'docker' | 'dir';
  source: string;
  destination: string;
  /** The whole name of the source below the destination, instead of its last part. */
  scoped?: boolean;
  appendSuffix?: string;
  sourceAccess?: RegistryAccess;
  destinationAccess?: RegistryAccess;
}

/** One image to copy. */
export interface SyncStep {
  /** `TRANSPORT:DETAILS` */
  source: string;
  destination: string;
  sourceAccess: RegistryAccess;
}

const MAX_FOLDERS = 100_000;
const MAX_DEPTH = 32;

/** What came of looking for images: some, and what could not be asked. */
export interface SyncPlan {
  steps: SyncStep[];
  problems: unknown[];
}

/**
 * What a sync copies, in order.
 *
 * @throws {TareError} InvalidArgument: names and files that are wrong; of the registry, when the only one cannot be asked
 * @see skopeo-sync(1)
 */
export async function planSync(transports: Transports, request: SyncRequest): Promise<SyncPlan> {
  if (request.from === 'dir' && request.to === 'dir') {
    throw new TareError('InvalidArgument', 'sync from dir to dir is not implemented: copy the folder itself');
  }
  const place = destinationOf(request);
  if (request.from === 'dir') {
    const folders = await imageFolders(request.source);
    const steps = folders.map((folder) => ({
      source: `dir:${folder}`,
      destination: place(
        folder.slice(request.source.replace(/\/+$/, '').length).replace(/^\/+/, '') || basename(folder),
      ),
      sourceAccess: {},
    }));
    return { steps, problems: [] };
  }
  if (request.from === 'docker') {
    const access = request.sourceAccess ?? {};
    const references = await tagged(transports, repositoryText(request.source), access);
    return { steps: references.map((reference) => stepFor(reference, access, place)), problems: [] };
  }
  return await planFile(transports, request, place);
}

async function planFile(transports: Transports, request: SyncRequest, place: Place): Promise<SyncPlan> {
  const plan: SyncPlan = { steps: [], problems: [] };
  for (const registry of await readSyncFile(request.source)) {
    const access: RegistryAccess = {
      ...request.sourceAccess,
      ...(registry.credentials === undefined ? {} : { credentials: registry.credentials as Credentials }),
      ...(registry.tlsVerify === undefined ? {} : { tlsVerify: registry.tlsVerify }),
      ...(registry.certDir === undefined ? {} : { certDir: registry.certDir }),
    };
    for (const { repository, tags, pattern } of registry.images) {
      const base = `${registry.host}/${repository}`;
      try {
        const names =
          tags.length > 0
            ? tags.map((tag) => parseReference(tag.includes(':') ? `${base}@${tag}` : `${base}:${tag}`))
            : await tagged(transports, base, access);
        const wanted = names.filter(({ tag }) => pattern === undefined || (tag !== undefined && pattern.test(tag)));
        plan.steps.push(...wanted.map((reference) => stepFor(reference, access, place)));
      } catch (error) {
        plan.problems.push(error);
      }
    }
  }
  return plan;
}

type Place = (suffix: string) => string;

function stepFor(reference: Reference, sourceAccess: RegistryAccess, place: Place): SyncStep {
  const name = `${canonicalName(reference)}${reference.tag === undefined ? `@${reference.digest}` : `:${reference.tag}`}`;
  return { source: formatTransport({ transport: 'docker', reference }), destination: place(name), sourceAccess };
}

/** Where an image goes, by what it is called at its source. */
function destinationOf({ to, destination, scoped = false, appendSuffix = '' }: SyncRequest): Place {
  return (name) => {
    const path = join(destination, scoped ? name : basename(name)) + appendSuffix;
    const text = to === 'dir' ? `dir:${path}` : `docker://${path}`;
    // What is wrong with it is told before anything is copied.
    parseTransport(text);
    return text;
  };
}

function repositoryText(source: string): string {
  if (source.includes('://')) {
    throw new TareError('InvalidArgument', `${JSON.stringify(source)}: want a repository without docker://`);
  }
  return source;
}

/** One image if a tag or digest says so, else all tags of the repository. */
async function tagged(transports: Transports, text: string, access: RegistryAccess): Promise<Reference[]> {
  const reference = parseReference(text);
  if (reference.tag !== undefined || reference.digest !== undefined) return [reference];
  const registries = transports.registries(access);
  const tags = await Array.fromAsync(registries.repository(reference, access.credentials).tags());
  if (tags.length > 0) return tags.map((tag) => withTag(reference, tag));
  throw new TareError('NotFound', `${familiarName(reference)} has no tags`);
}

/** Folders below one, itself too, that `dir:` can read. Links are not followed. */
async function imageFolders(root: string): Promise<string[]> {
  const found: string[] = [];
  const pending: { path: string; depth: number }[] = [{ path: root.replace(/(.)\/+$/, '$1'), depth: 0 }];
  for (let looked = 0, next = pending.pop(); next !== undefined; next = pending.pop(), looked += 1) {
    if (looked > MAX_FOLDERS || next.depth > MAX_DEPTH) {
      throw new TareError(
        'InvalidArgument',
        `${root}: more than ${MAX_FOLDERS} folders, or ${MAX_DEPTH} in each other`,
      );
    }
    for await (const entry of await openFolder(next.path)) {
      const path = join(next.path, entry.name);
      if (entry.isDirectory()) pending.push({ path, depth: next.depth + 1 });
      else if (entry.name === 'manifest.json' && (await lstat(path)).isFile()) found.push(next.path);
    }
  }
  if (found.length > 0) return found.sort();
  throw new TareError('NotFound', `${root}: no folder in it holds an image as dir: makes them`);
}

async function openFolder(path: string) {
  try {
    return await opendir(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw new TareError('NotFound', `${path}: no such folder`, { cause });
    if (code === 'ENOTDIR') throw new TareError('InvalidArgument', `${path} is not a folder`, { cause });
    throw cause;
  }
}
