import { readdirSync, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { messageOf, TareError } from '../../errors/index.ts';
import { type Digest, hexOf } from '../../storage/index.ts';
import { type Foreign, objectAt, optional, textAt } from '../json.ts';
import type { Reference } from '../reference.ts';
import { tlsFor } from '../registries/index.ts';
import type { HttpClient } from '../registry/http-client.ts';
import { defaultLimits } from '../registry/limits.ts';
import { scopesOf } from './policy-scope.ts';
import { type FoundSignature, MAX_SIGNATURE_BYTES, MAX_SIGNATURES, parseSignatureFile } from './signature.ts';
import { exactObjectAt } from './strict-json.ts';

const SYSTEM_FOLDER = '/etc/containers/registries.d';
const USER_FOLDER = '.config/containers/registries.d';
const MAX_FILES = 1000;
const MAX_FILE_BYTES = 1 << 20;

const invalid = (message: string, cause?: unknown) => new TareError('InvalidArgument', message, { cause });

/** Where signatures of a registry's images lie beside it (containers-registries.d(5)). */
export interface Lookaside {
  /** Undefined: nowhere. */
  url?: URL;
}

/** The folder that says so: the configured one, the user's, or the system's. */
export function lookasideFolder(configured?: string, home: string = homedir()): string {
  if (configured !== undefined) return configured;
  const own = join(home, USER_FOLDER);
  return isFolder(own) ? own : SYSTEM_FOLDER;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * Reads `registries.d` and finds where the signatures of an image are. The most specific section alone counts.
 * @throws {TareError} InvalidArgument: a file, its field and what would be right
 */
export async function lookasideOf(folder: string, reference: Reference): Promise<Lookaside> {
  const { fallback, sections } = await readSections(folder);
  const scope = scopesOf({ transport: 'docker', reference }).find((one) => one !== '' && sections.has(one));
  const section = scope === undefined ? fallback : sections.get(scope);
  if (section?.url !== undefined) return section;
  // containers/image reads here when nothing is configured.
  if (section === undefined) return defaultLookaside();
  return {};
}

function defaultLookaside(): Lookaside {
  const isRoot = process.getuid?.() === 0;
  const folder = isRoot ? '/var/lib/containers/sigstore' : join(homedir(), '.local/share/containers/sigstore');
  return { url: new URL(`file://${folder}`) };
}

interface Sections {
  fallback?: Lookaside;
  sections: Map<string, Lookaside>;
}

async function readSections(folder: string): Promise<Sections> {
  const names = filesOf(folder);
  const all: Sections = { sections: new Map() };
  if (names.length === 0) return all;
  const yaml = await import('yaml');
  for (const name of names) {
    const path = join(folder, name);
    let document: unknown;
    try {
      const text = readFileSync(path, 'utf8');
      if (text.length > MAX_FILE_BYTES) throw new Error(`more than ${MAX_FILE_BYTES} bytes`);
      document = yaml.parse(text, { maxAliasCount: 0, uniqueKeys: true });
    } catch (cause) {
      throw invalid(`${path}: ${messageOf(cause)}`, cause);
    }
    if (document === null || document === undefined) continue;
    addFile(all, exactObjectAt(document, path, ['docker', 'default-docker']), path);
  }
  return all;
}

function addFile(all: Sections, file: Foreign, path: string): void {
  const fallback = optional(file['default-docker'], `${path}: default-docker`, sectionAt);
  if (fallback !== undefined) {
    if (all.fallback !== undefined) throw invalid(`${path}: default-docker stands in another file already`);
    all.fallback = fallback;
  }
  const docker = optional(file['docker'], `${path}: docker`, objectAt) ?? {};
  for (const [scope, value] of Object.entries(docker)) {
    if (all.sections.has(scope)) throw invalid(`${path}: docker.${scope} stands in another file already`);
    all.sections.set(scope, sectionAt(value, `${path}: docker.${scope}`));
  }
}

function sectionAt(value: unknown, where: string): Lookaside {
  const section = exactObjectAt(value, where, [
    ...['lookaside', 'lookaside-staging', 'sigstore', 'sigstore-staging', 'use-sigstore-attachments'],
  ]);
  // `sigstore` is the old name, from before the project of that name.
  const text = optional(section['lookaside'] ?? section['sigstore'], `${where}.lookaside`, textAt);
  if (text === undefined) return {};
  const url = URL.parse(text);
  if (url === null || !['http:', 'https:', 'file:'].includes(url.protocol)) {
    throw invalid(`${where}.lookaside: ${JSON.stringify(text)}: want a http, https or file URL`);
  }
  return { url };
}

function filesOf(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
    if (names.length > MAX_FILES) throw invalid(`${folder}: ${names.length} files, at most ${MAX_FILES} are allowed`);
    return names.sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Signatures of a manifest in a lookaside: `PATH@sha256=HEX/signature-1` and so on, until one is missing.
 * @throws {TareError} Unavailable: the server does not answer; InvalidArgument: too large
 */
export async function lookasideSignatures(
  { url }: Lookaside,
  reference: Reference,
  digest: Digest,
  options: { signal?: AbortSignal } = {},
): Promise<FoundSignature[]> {
  const found: FoundSignature[] = [];
  if (url === undefined) return found;
  const folder = `${url.href.replace(/\/+$/, '')}/${reference.path}@sha256=${hexOf(digest)}`;
  using client = await openClient();
  while (found.length < MAX_SIGNATURES) {
    const file = new URL(`${folder}/signature-${found.length + 1}`);
    const bytes = file.protocol === 'file:' ? readSignature(file) : await fetchSignature(client, file, options.signal);
    if (bytes === undefined) break;
    found.push(readableOf(file, bytes));
  }
  return found;
}

/** As registries are reached: proxies, certificates of a host, tries. It connects when it is asked something. */
async function openClient(): Promise<HttpClient> {
  const { HttpClient: Client } = await import('../registry/http-client.ts');
  return new Client({
    limits: defaultLimits,
    tlsFor,
    env: process.env,
    userAgent: 'tare',
    isInsecure: () => false,
  });
}

function readableOf(file: URL, bytes: Buffer): FoundSignature {
  try {
    return parseSignatureFile(bytes);
  } catch (error) {
    return { kind: 'unreadable', why: `${file}: ${messageOf(error)}` };
  }
}

function readSignature(file: URL): Buffer | undefined {
  const path = fileURLToPath(file);
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined) return undefined;
  if (size > MAX_SIGNATURE_BYTES) throw tooLarge(file);
  return readFileSync(path);
}

const tooLarge = (file: URL) => invalid(`signature ${file}: more than ${MAX_SIGNATURE_BYTES} bytes`);

async function fetchSignature(client: HttpClient, file: URL, signal?: AbortSignal): Promise<Buffer | undefined> {
  const response = await client.call({
    purpose: { registry: file.host, what: `signature ${file.pathname}` },
    method: 'GET',
    url: () => file,
    wanted: [200, 404],
    isInsecure: false,
    signal,
  });
  using _ = response;
  if (response.status === 404) return undefined;
  const bytes = await response.bytes(MAX_SIGNATURE_BYTES);
  if (bytes === undefined) throw tooLarge(file);
  return bytes;
}
