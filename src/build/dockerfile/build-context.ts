import { posix } from 'node:path';
import { kindOf, messageOf, TareError } from '../../errors/index.ts';
import { parseGoBoolean } from '../../image/index.ts';
import type { Definition } from '../../protocol/index.ts';
import type { BridgeRef, FrontendBridge } from '../frontend.ts';
import * as llb from '../llb/index.ts';
import { withoutPasswords } from '../without-passwords.ts';
import { gitOutput, parseGitAddress } from './git-address.ts';
import { parseIgnoreFile } from './ignore-file.ts';
import type { FrontendOptions } from './options.ts';
import { MAX_FILE_BYTES } from './parse/index.ts';

const DOCKERFILE = 'Dockerfile';
const IGNORE_FILE = '.dockerignore';

/** The file that says what to build. */
export interface DefinitionFile {
  filename: string;
  data: Uint8Array;
  /** Of the source that it was read from. */
  definition: Definition;
}

/** Where the client's files are: its folder, a repository, a download, a part of another build. */
export class BuildContext {
  readonly #bridge: FrontendBridge;
  readonly #options: FrontendOptions;
  /** Undefined: the client's folder. */
  #tree: llb.Output | undefined;
  #isTreeKnown = false;
  #dockerfileTree: llb.Output | undefined;
  #filename: string;
  readonly #localName: string;
  #ignoreFile: { name: string; data: Uint8Array } | undefined;
  #patterns: Promise<readonly string[]> | undefined;

  private constructor(bridge: FrontendBridge, options: FrontendOptions) {
    this.#bridge = bridge;
    this.#options = options;
    this.#filename = bridge.options['filename'] || DOCKERFILE;
    this.#localName = bridge.options['contextkey'] ?? 'context';
  }

  static async open(bridge: FrontendBridge, options: FrontendOptions): Promise<BuildContext> {
    const context = new BuildContext(bridge, options);
    await context.#locate();
    return context;
  }

  async #locate(): Promise<void> {
    const { options, inputs } = this.#bridge;
    const address = options[this.#localName] ?? '';
    const isForced = options['dockerfilekey'] !== undefined;
    const repository = parseGitAddress(address);
    if (repository !== undefined) {
      const keeps = parseGoBoolean(options['build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR'] ?? '') ?? false;
      const tree = gitOutput(repository, keeps || repository.keepsGitDirectory === true, {
        name: `[internal] load git source ${withoutPasswords(address)}`,
      });
      this.#use(tree, isForced ? undefined : tree);
    } else if (/^https?:\/\//.test(address)) {
      const tree = await this.#download(address);
      this.#use(tree, isForced ? undefined : tree);
    } else {
      const dockerfile = isForced ? undefined : inputs.get('dockerfile');
      if (dockerfile !== undefined) this.#dockerfileTree = llb.outputOf(dockerfile);
      const context = inputs.get(this.#localName);
      if (context !== undefined) this.#use(llb.outputOf(context), this.#dockerfileTree);
    }
    const folder = options['contextsubdir'];
    if (this.#isTreeKnown && folder !== undefined) {
      this.#tree = llb.file(undefined, [
        { kind: 'copy', from: this.#tree, source: folder, destination: '/', copiesContent: true },
      ]);
    }
  }

  #use(tree: llb.Output | undefined, dockerfileTree: llb.Output | undefined): void {
    this.#tree = tree;
    this.#isTreeKnown = true;
    this.#dockerfileTree = dockerfileTree;
  }

  /** What is at an address: an archive to be unpacked, or the Dockerfile itself. */
  async #download(address: string): Promise<llb.Output | undefined> {
    const filename = 'context';
    const file = llb.http(address, { filename }, { name: '[internal] load remote build context' });
    const ref = await solve(this.#bridge, llb.marshal(file, this.#options.buildPlatform));
    const head = await ref.readFile(filename, { offset: 0, length: 1024 });
    if (!isArchive(head)) {
      this.#filename = filename;
      return file;
    }
    return llb.file(undefined, [{ kind: 'copy', from: file, source: `/${filename}`, destination: '/', unpacks: true }]);
  }

  sessionOf(localName: string): string {
    return this.#options.localSessions.get(localName) ?? this.#bridge.sessionID;
  }

  /**
   * Reads the Dockerfile, and the ignore file beside it if it has one of its own.
   * @throws {TareError} NotFound: there is none, naming it
   */
  async readDockerfile(): Promise<DefinitionFile> {
    const filename = this.#filename;
    const isDefault = posix.basename(filename) === DOCKERFILE;
    // An old spelling; docker takes it as well.
    const other = posix.join(posix.dirname(filename), DOCKERFILE.toLowerCase());
    const localName = this.#bridge.options['dockerfilekey'] ?? 'dockerfile';
    const tree =
      this.#dockerfileTree ??
      llb.local(
        localName,
        {
          sessionID: this.sessionOf(localName),
          followPaths: [filename, `${filename}${IGNORE_FILE}`, ...(isDefault ? [other] : [])],
          sharedKeyHint: localName,
          differ: 'none',
        },
        { name: `[internal] load build definition from ${filename}` },
      );
    const definition = llb.marshal(tree, this.#options.buildPlatform);
    const ref = await solve(this.#bridge, definition).catch((error: unknown) => {
      throw new TareError(kindOf(error), `failed to read dockerfile: ${messageOf(error)}`, { cause: error });
    });
    const data = (await readIfThere(ref, filename)) ?? (isDefault ? await readIfThere(ref, other) : undefined);
    if (data === undefined) {
      throw new TareError(
        'NotFound',
        `failed to read dockerfile: open ${filename}: no such file or directory: name the file that says what to build`,
      );
    }
    const own = await readIfThere(ref, `${filename}${IGNORE_FILE}`);
    if (own !== undefined) this.#ignoreFile = { name: `${filename}${IGNORE_FILE}`, data: own };
    return { filename, data, definition };
  }

  /** What the client keeps out of its folder; nothing of a context that is none. */
  ignorePatterns(): Promise<readonly string[]> {
    this.#patterns ??= this.#readPatterns();
    return this.#patterns;
  }

  async #readPatterns(): Promise<readonly string[]> {
    if (this.#isTreeKnown) return [];
    const file = this.#ignoreFile ?? { name: IGNORE_FILE, data: await this.#readIgnoreFile() };
    return file.data === undefined ? [] : parseIgnoreFile(file.data);
  }

  async #readIgnoreFile(): Promise<Uint8Array | undefined> {
    const tree = ignoreFileOf(this.#localName, this.sessionOf(this.#localName), this.#localName, '[internal]');
    return readIfThere(await solve(this.#bridge, llb.marshal(tree, this.#options.buildPlatform)), IGNORE_FILE);
  }

  /** The context as a tree. @param paths what is taken of it; empty: all */
  async tree(paths: readonly string[]): Promise<llb.Output | undefined> {
    if (this.#isTreeKnown) return this.#tree;
    return llb.local(
      this.#localName,
      {
        sessionID: this.sessionOf(this.#localName),
        excludePatterns: await this.ignorePatterns(),
        followPaths: paths,
        sharedKeyHint: this.#localName,
      },
      { name: '[internal] load build context' },
    );
  }
}

/** A client's folder, of which only its ignore file is asked for. */
export const ignoreFileOf = (localName: string, sessionID: string, key: string, prefix: string): llb.Output =>
  llb.local(
    localName,
    { sessionID, followPaths: [IGNORE_FILE], sharedKeyHint: `${key}-${IGNORE_FILE}`, differ: 'none' },
    { name: `${prefix} load ${IGNORE_FILE}` },
  );

export async function readIgnorePatterns(bridge: FrontendBridge, tree: llb.Output, options: FrontendOptions) {
  const data = await readIfThere(await solve(bridge, llb.marshal(tree, options.buildPlatform)), IGNORE_FILE);
  return data === undefined ? [] : parseIgnoreFile(data);
}

/**
 * Has it made, so that a source which is not there is not taken for a file which is not in it.
 * @throws {TareError} InvalidArgument: the definition is of the empty tree
 */
export async function solve(bridge: FrontendBridge, definition: Definition): Promise<BridgeRef> {
  const { ref } = await bridge.solve({ definition, evaluate: true });
  if (ref === undefined) throw new TareError('InvalidArgument', 'a file was to be read out of an empty tree');
  return ref;
}

async function readIfThere(ref: BridgeRef, path: string): Promise<Uint8Array | undefined> {
  let data: Uint8Array;
  try {
    const { sizeBytes } = await ref.status(path);
    if (sizeBytes > MAX_FILE_BYTES) {
      throw new TareError('InvalidArgument', `${path} has ${sizeBytes} bytes: at most ${MAX_FILE_BYTES} are read`);
    }
    data = await ref.readFile(path);
  } catch (error) {
    if (kindOf(error) === 'NotFound') return undefined;
    throw new TareError(kindOf(error), `failed to read ${path}: ${messageOf(error)}`, { cause: error });
  }
  return data;
}

/** By its first bytes: bzip2, gzip, xz, or tar. */
export function isArchive(head: Uint8Array): boolean {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  const magics = ['425a68', '1f8b08', 'fd377a585a00', '28b52ffd'];
  if (magics.some((magic) => bytes.subarray(0, magic.length / 2).toString('hex') === magic)) return true;
  if (bytes.length < 512) return false;
  const field = bytes
    .subarray(148, 156)
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .trim();
  const sum = bytes.subarray(0, 512).reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  return /^[0-7]+$/.test(field) && Number.parseInt(field, 8) === sum;
}
