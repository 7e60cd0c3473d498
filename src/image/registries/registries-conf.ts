import { accessSync, constants } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { TareError } from '../../errors/index.ts';
import type { Digest } from '../../storage/index.ts';
import { canonical, canonicalName, DEFAULT_DOMAIN, isShortName, parseReference, type Reference } from '../reference.ts';
import { type DockerOptions, parseDockerOptions } from './docker-options.ts';
import { parseRegistriesFile, type RegistriesFile, type RegistryRule, type ShortNameMode } from './registries-file.ts';
import { listFolder, readSmallFile } from './small-file.ts';

/** One place to pull a reference from. */
export interface PullSource {
  /** Registry host, with a port if one is given. */
  domain: string;
  path: string;
  tag?: string;
  digest?: Digest;
  /** Certificates are not checked, and plain HTTP is tried when the host does not speak TLS. */
  insecure: boolean;
  isMirror: boolean;
}

export interface RegistriesOptions extends DockerOptions {
  /** The only file that is read; without it $CONTAINERS_REGISTRIES_CONF, then the usual places. */
  registriesConf?: string;
  env?: NodeJS.ProcessEnv;
  /** The user's home folder, whose files count before the system's. */
  home?: string;
  /** In place of `/`, for tests. */
  systemRoot?: string;
}

/** How this machine reaches registries: registries.conf, its drop-ins, and docker's options. */
export interface RegistriesConf {
  /**
   * Where to pull a reference from, mirrors first, the place itself last.
   * @throws {TareError} Forbidden: the registry is blocked
   */
  lookup(reference: Reference): PullSource[];
  /**
   * Whether a registry or repository, `host[:port][/path]`, is configured to be talked to without TLS or with any certificate.
   * This machine's own are treated alike by the client, whatever is said here.
   */
  isInsecure(scope: string): boolean;
  /** @throws {TareError} Forbidden: the registry or repository `host[:port][/path]` is blocked */
  refuseBlocked(scope: string): void;
  /**
   * What a user's word may stand for, to be tried in order: itself when it names a registry, else its alias, else the search list.
   * Tag and digest are kept, none is added.
   * @throws {TareError} InvalidArgument: no reference, or a short name that nothing resolves
   */
  candidates(name: string): Reference[];
  /** `credential-helpers`; `containers-auth.json` stands for the files of credentials. */
  readonly credentialHelpers: readonly string[];
  /** The same for the same content of the same files. */
  readonly fingerprint: string;
  /** Files that were read, in order. */
  readonly files: readonly string[];
  /** What was not understood and is not in the way. */
  readonly warnings: readonly string[];
}

/**
 * Reads the configuration as it is now.
 *
 * @throws {TareError} InvalidArgument: a file that is wrong, by its path, or a wrong option; Forbidden: an unreadable file
 * @see containers-registries.conf(5); containers-registries.conf.d(5)
 */
export function loadRegistriesConf(options: RegistriesOptions = {}): RegistriesConf {
  const docker = parseDockerOptions(options);
  const files: string[] = [];
  const parsed: RegistriesFile[] = [];
  const read: string[] = [];
  for (const file of filesOf(options)) {
    const bytes = readSmallFile(file.path);
    if (bytes === undefined) {
      if (file.isRequired) throw new TareError('InvalidArgument', `there is no registries configuration ${file.path}`);
      continue;
    }
    files.push(file.path);
    const text = bytes.toString();
    read.push(file.path, text);
    parsed.push(parseRegistriesFile(text, file.path));
  }
  return new MergedConf(parsed, files, JSON.stringify(read), docker);
}

function* filesOf(options: RegistriesOptions): Generator<{ path: string; isRequired?: boolean }> {
  const env = options.env ?? process.env;
  const only = options.registriesConf || env['CONTAINERS_REGISTRIES_CONF'];
  if (only) {
    yield { path: only, isRequired: true };
    return;
  }
  const root = options.systemRoot ?? '/';
  const home = options.home ?? homedir();
  const own = join(home, '.config/containers');
  // The first that is there counts; drop-ins add to it, the user's last.
  const places = [own, join(root, 'etc/containers'), join(root, 'usr/share/containers')];
  const main = places
    .map((folder) => join(folder, 'registries.conf'))
    .find((path) => readSmallFile(path) !== undefined);
  if (main !== undefined) yield { path: main };
  for (const folder of [join(root, 'etc/containers/registries.conf.d'), join(own, 'registries.conf.d')])
    for (const name of listFolder(folder) ?? []) if (name.endsWith('.conf')) yield { path: join(folder, name) };
  // Where podman and skopeo keep what a user chose for a short name.
  const machines = join(root, 'var/cache/containers/short-name-aliases.conf');
  // Root's is for root alone to read where podman made it.
  if (isReadable(machines)) yield { path: machines };
  yield { path: join(home, '.cache/containers/short-name-aliases.conf') };
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

class MergedConf implements RegistriesConf {
  readonly credentialHelpers: readonly string[];
  readonly fingerprint: string;
  readonly files: readonly string[];
  readonly warnings: readonly string[];
  readonly #rules: RegistryRule[];
  readonly #search: readonly string[];
  readonly #mode: ShortNameMode;
  readonly #aliases = new Map<string, string>();
  readonly #docker: ReturnType<typeof parseDockerOptions>;

  constructor(
    parsed: readonly RegistriesFile[],
    files: readonly string[],
    fingerprint: string,
    docker: ReturnType<typeof parseDockerOptions>,
  ) {
    const last = <K extends keyof RegistriesFile>(key: K) => parsed.findLast((file) => file[key] !== undefined)?.[key];
    const rules = new Map<string, RegistryRule>();
    for (const file of parsed) {
      for (const rule of file.registries) rules.set(rule.prefix, rule);
      for (const [name, target] of file.aliases) this.#aliases.set(name, target);
    }
    this.#rules = [...rules.values()].sort((a, b) => b.prefix.length - a.prefix.length);
    this.#search = last('searchRegistries') ?? [DEFAULT_DOMAIN];
    this.#mode = last('shortNameMode') ?? 'permissive';
    this.credentialHelpers = last('credentialHelpers') ?? [];
    this.fingerprint = fingerprint;
    this.files = files;
    this.warnings = parsed.flatMap((file) => file.warnings);
    this.#docker = docker;
  }

  lookup(reference: Reference): PullSource[] {
    const rule = this.#ruleOf(canonical(reference));
    if (rule?.blocked) throw blocked(rule, canonicalName(reference));
    const isDigested = reference.digest !== undefined;
    const mirrors: Omit<PullSource, 'isMirror'>[] = [];
    if (reference.domain === DEFAULT_DOMAIN)
      for (const { domain, insecure } of this.#docker.mirrors) mirrors.push({ ...reference, domain, insecure });
    for (const { location, insecure, pullFromMirror } of rule?.mirrors ?? [])
      if (pullFromMirror !== (isDigested ? 'tag-only' : 'digest-only'))
        mirrors.push({ ...moved(reference, rule!.prefix, location), insecure });
    const own = rule?.location === undefined ? reference : moved(reference, rule.prefix, rule.location);
    return [
      ...mirrors
        // A mirror may have a table of its own.
        .filter((mirror) => !this.#ruleOf(canonical(mirror))?.blocked)
        .map((mirror) => ({
          ...mirror,
          insecure: mirror.insecure || this.isInsecure(canonicalName(mirror)),
          isMirror: true,
        })),
      { ...own, insecure: (rule?.insecure ?? false) || this.#docker.isInsecure(own.domain), isMirror: false },
    ];
  }

  isInsecure(scope: string): boolean {
    return (this.#ruleOf(scope)?.insecure ?? false) || this.#docker.isInsecure(scope.split('/', 1)[0]!);
  }

  refuseBlocked(scope: string): void {
    const rule = this.#ruleOf(scope);
    if (rule?.blocked) throw blocked(rule, scope);
  }

  candidates(name: string): Reference[] {
    const parsed = parseReference(name);
    if (!isShortName(name)) return [parsed];
    const bare = name.split(/[:@]/, 1)[0]!;
    const rest = name.slice(bare.length);
    const alias = this.#aliases.get(bare);
    if (alias) return [parseReference(alias + rest)];
    if (this.#search.length === 0)
      throw new TareError(
        'InvalidArgument',
        `short name ${JSON.stringify(bare)}: it has no alias and unqualified-search-registries is empty in ${this.files.join(', ')}: give the name with its registry, as in docker.io/library/${bare}`,
      );
    if (this.#mode === 'enforcing' && this.#search.length > 1)
      throw new TareError(
        'InvalidArgument',
        `short name ${JSON.stringify(bare)} may stand for an image of ${this.#search.join(', ')}, and short-name-mode is enforcing: give the name with its registry, or an alias in registries.conf`,
      );
    return this.#search.map((registry) => parseReference(`${registry}/${name}`));
  }

  #ruleOf(text: string): RegistryRule | undefined {
    return this.#rules.find(({ prefix }) => matchedLength(text, prefix) !== undefined);
  }
}

/** How much of a reference a prefix covers; undefined: it does not match. Hosts are the same however they are written. */
function matchedLength(reference: string, prefix: string): number | undefined {
  const slash = reference.indexOf('/');
  const host = (slash < 0 ? reference : reference.slice(0, slash)).toLowerCase();
  if (prefix.startsWith('*.')) {
    const name = host.replace(/:\d+$/, '');
    // The dot is a part of what must match, so the domain itself does not.
    return name.endsWith(prefix.slice(1)) ? name.length : undefined;
  }
  const text = host + reference.slice(host.length);
  if (!text.startsWith(prefix)) return undefined;
  const end = prefix.length;
  // A colon also lets example.com match example.com:5000, as it does in containers/image.
  return end === text.length || [':', '/', '@'].includes(text[end]!) ? end : undefined;
}

/** A reference with the matched prefix replaced. @throws {TareError} InvalidArgument: what comes out is no reference */
function moved(reference: Reference, prefix: string, location: string): Reference {
  const text = canonical(reference);
  const target = location + text.slice(matchedLength(text, prefix)!);
  try {
    // A location may be as short as `localhost`, or a host without a dot, which only its place tells from a path.
    const slash = target.indexOf('/');
    const domain = target.slice(0, slash);
    const { domain: _, ...rest } = parseReference(`registry.invalid/${target.slice(slash + 1)}`);
    if (slash < 0) throw new TareError('InvalidArgument', 'no repository is left');
    return { ...rest, domain };
  } catch (cause) {
    throw new TareError(
      'InvalidArgument',
      `registries.conf: ${text} with prefix ${prefix} replaced by ${location} is ${target}, which is no reference: ${(cause as Error).message}`,
      { cause },
    );
  }
}

const blocked = (rule: RegistryRule, name: string) =>
  new TareError('Forbidden', `registry ${rule.prefix} is blocked by registries.conf, so ${name} cannot be used`);
