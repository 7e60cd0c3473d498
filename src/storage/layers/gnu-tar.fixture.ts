import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import {
  AT_FDCWD,
  listXattrsAt,
  O_DIRECTORY,
  OpenFile,
  openAt,
  removeXattrAt,
  toByteString,
} from '../../linux/index.ts';
import { type ForeignEntry, foreignArchive } from './foreign-archive.fixture.ts';

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** What GNU tar is told: everything as the archive says. */
const flags = "-x -p -P --same-owner --numeric-owner --xattrs --xattrs-include='*' --warning=no-timestamp";
/**
 * And folders last, so that later entries do not change their times. GNU tar then takes a folder that is named in two ways,
 * or through a link, for two, and lets the first say what it is.
 */
const foldersLast = '--delay-directory-restore';

/**
 * GNU tar in a root folder of its own: a process in a mount namespace that has changed its root to the folder, so that
 * absolute paths and links lead where they lead in a container. Each archive costs one tar process, no namespace.
 */
export class GnuTar implements AsyncDisposable {
  /** Where archives are unpacked; `tools` is a mount that only the process sees. */
  readonly root: string;
  readonly #tools: string;
  readonly #shell: ChildProcessWithoutNullStreams;
  /** Its answers, as they come. */
  readonly #answers: AsyncIterator<Buffer>;
  #said = '';

  static readonly mountPoint = '.tools';

  /** @param directory an empty folder */
  constructor(directory: string) {
    this.root = join(directory, 'root');
    this.#tools = join(directory, 'tools');
    mkdirSync(join(this.root, GnuTar.mountPoint), { recursive: true });
    mkdirSync(this.#tools);
    const libraries = execFileSync('ldd', ['/bin/tar'], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
    for (const path of libraries) copyFileSync(path, join(this.#tools, basename(path)));
    copyFileSync('/bin/tar', join(this.#tools, 'tar'));
    copyFileSync('/bin/busybox', join(this.#tools, 'busybox'));
    const loop = `umask 022; while read -r _; do . /${GnuTar.mountPoint}/script; echo "exit $?"; done`;
    const inside = join(this.root, GnuTar.mountPoint);
    const enter = `mount -o bind,ro ${quoted(this.#tools)} ${quoted(inside)} && exec chroot ${quoted(this.root)} /${GnuTar.mountPoint}/busybox sh -c ${quoted(loop)}`;
    this.#shell = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', enter], { stdio: 'pipe' });
    this.#shell.stderr.on('data', (chunk: Buffer) => {
      this.#said = (this.#said + chunk.toString('latin1')).slice(-4000);
    });
    this.#answers = this.#shell.stdout[Symbol.asyncIterator]();
  }

  /** What tar printed for the last archive. */
  get said(): string {
    return this.#said;
  }

  /**
   * Empties the root and unpacks one archive.
   *
   * @returns isSound: tar found nothing to complain of; knowsFolderTimes: it could set the times of folders last
   */
  async extract(entries: readonly ForeignEntry[]): Promise<{ isSound: boolean; knowsFolderTimes: boolean }> {
    const parts = partsOf(entries, false);
    const hasLinks = entries.some(({ kind }) => kind === 'link');
    const knowsFolderTimes =
      parts.length === 1 &&
      !hasLinks &&
      entries.every(({ path }) => path === plainPath(path)) &&
      !isDressedTwice(entries);
    if (await this.#extract(parts, knowsFolderTimes)) return { isSound: true, knowsFolderTimes };
    const isSound = hasLinks && (await this.#extract(partsOf(entries, true), false));
    return { isSound, knowsFolderTimes: false };
  }

  async #extract(parts: readonly Part[], delays: boolean): Promise<boolean> {
    for (const name of readdirSync(this.root, { encoding: 'latin1' })) {
      if (name === GnuTar.mountPoint) continue;
      const path = Buffer.concat([Buffer.from(`${this.root}/`), Buffer.from(name, 'latin1')]);
      rmSync(path as unknown as string, { recursive: true });
    }
    using folder = new OpenFile(openAt(AT_FDCWD, toByteString(this.root), O_DIRECTORY));
    for (const key of listXattrsAt(folder.fd, '.')) removeXattrAt(folder.fd, '.', key);
    chmodSync(this.root, 0o755);
    chownSync(this.root, 0, 0);
    this.#said = '';
    const run = `/${GnuTar.mountPoint}/ld-linux* --library-path /${GnuTar.mountPoint} /${GnuTar.mountPoint}/tar ${flags} ${delays ? foldersLast : ''}`;
    const lines: string[] = [];
    for (const [index, { entries, clear }] of parts.entries()) {
      writeFileSync(join(this.#tools, `part-${index}`), foreignArchive(entries));
      if (clear !== undefined) {
        const path = quoted(`/${clear}`);
        lines.push(`{ [ -L ${path} ] || [ ! -d ${path} ] || /${GnuTar.mountPoint}/busybox rm -rf ${path}; }`);
      }
      lines.push(`${run} -f /${GnuTar.mountPoint}/part-${index}`);
    }
    writeFileSync(join(this.#tools, 'script'), Buffer.from(lines.join(' &&\n'), 'latin1'));
    this.#shell.stdin.write('\n');
    let answer = '';
    while (!answer.endsWith('\n')) {
      const { value, done } = await this.#answers.next();
      if (done) throw new Error(`the process with GNU tar ended: ${this.#said}`);
      answer += value.toString();
    }
    return answer === 'exit 0\n';
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#shell.once('exit', resolve));
    this.#shell.stdin.end();
    await ended;
  }
}

/** Whether a folder is named twice, with attributes: then GNU tar sets only the last ones when it sets them last. */
function isDressedTwice(entries: readonly ForeignEntry[]): boolean {
  const dressed = new Set<string>();
  return entries.some(({ path, xattrs }) => {
    const isTwice = dressed.has(path);
    if (xattrs.length > 0) dressed.add(path);
    return isTwice;
  });
}

/** The path without `.`, doubled slashes and a slash at either end; `..` is somebody else's to deal with. */
const plainPath = (path: string): string =>
  path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');

interface Part {
  entries: ForeignEntry[];
  /** A path to clear before, if a folder is there. */
  clear: string | undefined;
}

/**
 * GNU tar refuses to put anything but a folder in the place of a folder that is not empty; docker and this engine replace
 * it. So the archive is cut before an entry that may do so, and the folder is removed between the parts. What GNU tar does
 * not refuse is a folder that is a hard link to itself: where links may have made a folder of a name, it is always cut
 * before a hard link.
 *
 * @param everywhere cut before every entry that is no folder: links may give a folder names that nobody foresees
 */
function partsOf(entries: readonly ForeignEntry[], everywhere: boolean): Part[] {
  const parts: Part[] = [{ entries: [], clear: undefined }];
  const seen = new Set<string>();
  const hasLinks = entries.some(({ kind }) => kind === 'link');
  for (const entry of entries) {
    const path = plainPath(entry.path);
    const isFolder = entry.kind === 'directory' || (entry.kind === 'file' && entry.path.endsWith('/'));
    const mayBeFolder = everywhere || seen.has(path) || (hasLinks && entry.kind === 'hardlink');
    if (!isFolder && path !== '' && mayBeFolder) parts.push({ entries: [], clear: path });
    for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) seen.add(at);
    parts.at(-1)!.entries.push(entry);
  }
  return parts;
}
