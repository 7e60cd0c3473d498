import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { constants, Script } from 'node:vm';

/** How many processes of one kind add to what is kept of a bundle: the later meet what the first did not. */
const ROUNDS = 4;
/** Of bundles that every command reads: each knows some of it. */
const SHARED_ROUNDS = 8;
/** Before it is known which command runs. */
const SHARED = 'any';
/** What a module of CommonJS is in. The build puts it around the largest bundles, for to add it here copies their text. */
export const [WRAPPER, WRAPPER_END] = ['(function (exports, require, module, __filename, __dirname) {', '\n})'];
/** Bundles: `./engine.cjs`. */
const bundleName = /^\.\/([\w-]+)\.cjs$/;
/** What a file of kept code begins with: a mark, how many processes have added to it, and the code's length; 32 bits each. */
const HEADER_BYTES = 16;
const MARK = 0x65726154;
const DRAFT = '.draft';
const DRAFT_AGE_MS = 3_600_000;

interface Loaded {
  script: Script;
  kind: string;
  /** How many processes have added to what was read; 0: nothing was read. */
  rounds: number;
}

/** The object of a module, as CommonJS has it. */
interface CommonModule {
  exports: unknown;
}
type Wrapper = (
  exports: unknown,
  require: (id: string) => unknown,
  module: CommonModule,
  filename: string,
  folder: string,
) => void;

/**
 * Loads the bundles beside the program with the code that V8 made of them in earlier processes that ran the same command.
 *
 * Node.js has such a cache, but fills it when a bundle is loaded: what is compiled later, when it is first called, is compiled by every
 * process anew, and that is most of it. Here it is filled when a process ends well (docs/decisions/kept-code.md).
 */
export class Bundles {
  readonly #folder: string;
  readonly #kept: string;
  readonly #modules = new Map<string, CommonModule>();
  readonly #loaded = new Map<string, Loaded>();
  readonly #require: NodeJS.Require;
  #kind = SHARED;

  /**
   * @param folder of the bundles
   * @param kept folder of what is kept, for this build of the bundles and this Node.js alone: V8 takes another's code for right. Whoever
   * can write there can have his code run by whoever runs this.
   */
  constructor(folder: string, kept: string) {
    this.#folder = folder;
    this.#kept = kept;
    this.#require = createRequire(join(folder, 'tare.cjs'));
  }

  /** From now on, what is loaded and compiled is this command's: its path, as in `image ls`. */
  use(command: string): void {
    this.#kind = command.replaceAll(' ', '-');
  }

  /** A bundle's exports; it is evaluated when it is first asked for. */
  load(name: string): unknown {
    const known = this.#modules.get(name);
    if (known !== undefined) return known.exports;
    const module: CommonModule = { exports: {} };
    this.#modules.set(name, module);
    const filename = join(this.#folder, `${name}.cjs`);
    const kept = this.#read(name, this.#kind);
    // Bundles are ASCII: a byte a character in memory, and nothing to decode.
    const text = readFileSync(filename, 'latin1');
    const script = new Script(text.startsWith(WRAPPER) ? text : `${WRAPPER}${text}${WRAPPER_END}`, {
      filename,
      ...(kept && { cachedData: kept.code }),
      importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
    const rounds = kept === undefined || script.cachedDataRejected === true ? 0 : kept.rounds;
    this.#loaded.set(name, { script, kind: this.#kind, rounds });
    const wrapper = script.runInThisContext() as Wrapper;
    wrapper.call(module.exports, module.exports, this.#find, module, filename, this.#folder);
    return module.exports;
  }

  /** `require` of a bundle. */
  readonly #find = (id: string): unknown => {
    const name = bundleName.exec(id)?.[1];
    return name === undefined ? this.#require(id) : this.load(name);
  };

  #path(name: string, kind: string): string {
    return join(this.#kept, `${kind}.${name}`);
  }

  /** @returns undefined: nothing is kept, or not by this user */
  #read(name: string, kind: string): { code: Buffer; rounds: number } | undefined {
    let file: number;
    try {
      file = openSync(this.#path(name, kind), 'r');
    } catch {
      return undefined;
    }
    try {
      const { uid, size } = fstatSync(file);
      if (uid !== process.getuid?.() || size < HEADER_BYTES) return undefined;
      const bytes = Buffer.allocUnsafeSlow(size);
      if (readSync(file, bytes) !== size) return undefined;
      const isWhole = bytes.readUInt32LE(0) === MARK && bytes.readUInt32LE(8) === size - HEADER_BYTES;
      return isWhole ? { code: bytes.subarray(HEADER_BYTES), rounds: bytes.readUInt32LE(4) } : undefined;
    } finally {
      closeSync(file);
    }
  }

  /** Keeps what has been compiled by now, of bundles of which not enough is kept. For the end of a process that did what it was to do. */
  keep(): void {
    for (const [name, { script, kind, rounds }] of this.#loaded) {
      if (rounds >= (kind === SHARED ? SHARED_ROUNDS : ROUNDS)) continue;
      try {
        this.#write(this.#path(name, kind), script.createCachedData(), rounds + 1);
      } catch {
        // A full or read-only disk costs time, and no more.
        return;
      }
    }
  }

  #write(path: string, code: Buffer, rounds: number): void {
    mkdirSync(this.#kept, { recursive: true, mode: 0o700 });
    removeDrafts(this.#kept);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32LE(MARK, 0);
    header.writeUInt32LE(rounds, 4);
    header.writeUInt32LE(code.length, 8);
    const draft = `${path}.${process.pid}${DRAFT}`;
    const file = openSync(draft, 'wx', 0o600);
    try {
      for (const bytes of [header, code]) {
        for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
      }
      // V8 does not look whether bytes are missing: half of them must never be there.
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
  }
}

/** What processes left that were killed while they wrote. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    const made = name.endsWith(DRAFT) ? statSync(path, { throwIfNoEntry: false })?.mtimeMs : undefined;
    if (made !== undefined && Date.now() - made > DRAFT_AGE_MS) rmSync(path, { force: true });
  }
}
