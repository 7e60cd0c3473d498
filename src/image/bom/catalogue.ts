import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import type { VisibleFile, VisibleFiles } from '../../storage/index.ts';
import { readAt } from '../read-at.ts';
import { alpinePackages } from './alpine.ts';
import { Collection } from './collection.ts';
import { copyrightLicenses, debianPackages, debianPaths, listedPackage } from './debian.ts';
import { readWhole } from './foreign-file.ts';
import { goPackages, readGoBuild } from './go-binary.ts';
import { isJavaArchive, javaPackages } from './java.ts';
import { isInstalledManifest, isLockFile, lockedPackages, npmPackage } from './npm.ts';
import { parseOsRelease } from './os-release.ts';
import type { Catalogue, EvidenceFile } from './package.ts';
import { isPythonMetadata, pythonPackage } from './python.ts';
import { isRpmDatabase, rpmDatabases, rpmPackages } from './rpm/rpm.ts';

export interface CatalogueOptions {
  signal?: AbortSignal;
  /** Hash the files that packages were found in; else `files` is empty. */
  hashesFiles?: boolean;
}

/** Files that are remembered until the walk is over. */
const MAX_REMEMBERED = 500_000;
/** Folders of documents whose licences are kept: each may name 64. */
const MAX_DOCUMENTED = 50_000;
const MAX_OS_RELEASE_BYTES = 64 * 1024;
/** Go's smallest programs have a megabyte. */
const MIN_PROGRAM_BYTES = 100 * 1024;
const PIECE_BYTES = 1024 * 1024;

/**
 * Lists what is installed in an image, from its files alone: nothing of it is run.
 *
 * What a single file of an application says wrongly becomes a problem of the catalogue; a damaged database of the distribution
 * fails, because a list without it would be no answer.
 *
 * @throws {TareError} InvalidArgument: a database of dpkg, apk or rpm is damaged, naming it
 */
export async function catalogue(files: VisibleFiles, options: CatalogueOptions = {}): Promise<Catalogue> {
  const collector = new Collector(options.signal);
  let steps = 0;
  for (const file of files.walk()) {
    if (file !== undefined) await collector.look(file);
    else if (++steps % 64 === 0) {
      await setImmediate();
      options.signal?.throwIfAborted();
    }
  }
  return await collector.finish(options.hashesFiles === true);
}

class Collector {
  readonly #collection = new Collection();
  readonly #signal: AbortSignal | undefined;
  readonly #osRelease = new Map<string, VisibleFile>();
  /** Databases of the distribution: read last, when it is known which files of others they may own. */
  readonly #dpkg: VisibleFile[] = [];
  readonly #lists: VisibleFile[] = [];
  readonly #apk: VisibleFile[] = [];
  readonly #rpm: VisibleFile[] = [];
  readonly #locks: VisibleFile[] = [];
  /** Folders that have a node_modules, which knows better than a lock file what is installed. */
  readonly #withModules = new Set<string>();
  /** Licences by the folder's name in usr/share/doc, and links between those. */
  readonly #documented = new Map<string, string[]>();
  readonly #documentLinks = new Map<string, string>();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  async look(file: VisibleFile): Promise<void> {
    const { path } = file;
    const document = /^usr\/share\/doc\/([^/]+)(\/copyright)?$/.exec(path);
    if (file.type === 'link') {
      if (document && document[2] === undefined && this.#documentLinks.size < MAX_REMEMBERED) {
        this.#documentLinks.set(document[1]!, file.target().replace(/^.*\//, ''));
      }
      return;
    }
    const modules = path.indexOf('node_modules/');
    if (modules !== -1 && this.#withModules.size < MAX_REMEMBERED) this.#withModules.add(path.slice(0, modules));
    if (path === 'etc/os-release' || path === 'usr/lib/os-release') this.#osRelease.set(path, file);
    else if (/^var\/lib\/dpkg\/(?:status|status\.d\/[^/]+(?<!\.md5sums))$/.test(path)) this.#remember(this.#dpkg, file);
    else if (/^var\/lib\/dpkg\/info\/[^/]+\.list$/.test(path)) this.#remember(this.#lists, file);
    else if (/^(?:usr\/)?lib\/apk\/db\/installed$/.test(path)) this.#remember(this.#apk, file);
    else if (isRpmDatabase(path)) this.#remember(this.#rpm, file);
    else if (document?.[2] !== undefined) {
      if (this.#documented.size >= MAX_DOCUMENTED) return;
      await this.#try(file, () => void this.#documented.set(document[1]!, copyrightLicenses(file)));
    } else if (isInstalledManifest(path)) await this.#try(file, () => this.#collection.add(npmPackage(file), file));
    else if (isLockFile(path)) this.#remember(this.#locks, file);
    else if (isPythonMetadata(path)) await this.#try(file, () => this.#collection.add(pythonPackage(file), file));
    else if (isJavaArchive(path)) await this.#try(file, () => this.#lookIntoArchive(file));
    else await this.#lookForGo(file);
  }

  async finish(hashesFiles: boolean): Promise<Catalogue> {
    const release = this.#osRelease.get('etc/os-release') ?? this.#osRelease.get('usr/lib/os-release');
    const distribution =
      release === undefined ? undefined : parseOsRelease(readWhole(release, MAX_OS_RELEASE_BYTES).toString('utf8'));
    for (const file of this.#locks) {
      if (this.#withModules.has(file.path.slice(0, file.path.lastIndexOf('/') + 1))) continue;
      await this.#try(file, () => {
        for (const found of lockedPackages(file)) this.#collection.add(found, file);
      });
    }
    this.#readDatabases();
    const files = hashesFiles ? await this.#hash() : [];
    return { distribution, ...this.#collection.finish(distribution), files };
  }

  #readDatabases(): void {
    const own = (path: string, owner: string) => this.#collection.own(path, owner);
    for (const file of this.#dpkg) {
      for (const found of debianPackages(file)) {
        const licenses = this.#documented.get(this.#documentLinks.get(found.name) ?? found.name);
        this.#collection.add(licenses === undefined ? found : { ...found, licenses }, file);
      }
    }
    for (const file of this.#apk) {
      for (const found of alpinePackages(file, own)) this.#collection.add(found, file);
    }
    for (const database of rpmDatabases(this.#rpm)) {
      for (const found of rpmPackages(database, own)) this.#collection.add(found, database.file);
    }
    if (!this.#collection.hasOwnable) return;
    for (const list of this.#lists) {
      const owner = listedPackage(list.path);
      for (const path of debianPaths(list)) own(path, owner);
    }
  }

  #remember(list: VisibleFile[], file: VisibleFile): void {
    if (list.length >= MAX_REMEMBERED) {
      throw new TareError('InvalidArgument', `${file.path}: more than ${MAX_REMEMBERED} files of its kind`);
    }
    list.push(file);
  }

  async #lookIntoArchive(file: VisibleFile): Promise<void> {
    using opened = file.open();
    for (const { inside, ...found } of await javaPackages(opened.fd, file.path, this.#signal)) {
      this.#collection.add(found, file, inside);
    }
  }

  async #lookForGo(file: VisibleFile): Promise<void> {
    const { mode, sizeBytes } = file.status();
    if (sizeBytes < MIN_PROGRAM_BYTES || ((mode & 0o111) === 0 && !file.path.endsWith('.so'))) return;
    await this.#try(file, () => {
      using opened = file.open();
      const build = readGoBuild(opened.fd, file.path, sizeBytes);
      if (build === undefined) return;
      for (const found of goPackages(build)) this.#collection.add(found, file);
    });
  }

  /** What a file of an application gets wrong is noted, and the rest goes on. */
  async #try(file: VisibleFile, read: () => void | Promise<void>): Promise<void> {
    try {
      await read();
    } catch (error) {
      if (kindOf(error) !== 'InvalidArgument') throw error;
      this.#collection.problem(file.path, messageOf(error));
    }
  }

  async #hash(): Promise<EvidenceFile[]> {
    const files: EvidenceFile[] = [];
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    for (const file of this.#collection.evidence()) {
      this.#signal?.throwIfAborted();
      using opened = file.open();
      const [sha1, sha256] = [createHash('sha1'), createHash('sha256')];
      let offset = 0;
      for (let size = readAt(opened.fd, piece, 0); size > 0; size = readAt(opened.fd, piece, offset)) {
        offset += size;
        sha1.update(piece.subarray(0, size));
        sha256.update(piece.subarray(0, size));
        if (offset % (16 * PIECE_BYTES) === 0) await setImmediate();
      }
      const digests = { sha1: sha1.digest('hex'), sha256: sha256.digest('hex') };
      files.push({ path: file.path, layer: file.layer, sizeBytes: offset, ...digests });
    }
    return files;
  }
}
