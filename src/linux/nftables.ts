import koffi from 'koffi';

const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const NFT_CTX_OUTPUT_HANDLE = 1 << 3;

interface Library {
  create(flags: number): unknown;
  free(context: unknown): void;
  bufferOutput(context: unknown): number;
  bufferError(context: unknown): number;
  output(context: unknown): string;
  error(context: unknown): string;
  setOutputFlags(context: unknown, flags: number): void;
  run(context: unknown, commands: string): number;
}

let library: Library | undefined;

/** Loaded on first use: a command that never touches a rule does not pay for it. */
function load(): Library {
  if (library !== undefined) return library;
  const nftables = koffi.load('libnftables.so.1');
  library = {
    create: nftables.func('void *nft_ctx_new(uint32_t flags)'),
    free: nftables.func('void nft_ctx_free(void *ctx)'),
    bufferOutput: nftables.func('int nft_ctx_buffer_output(void *ctx)'),
    bufferError: nftables.func('int nft_ctx_buffer_error(void *ctx)'),
    output: nftables.func('const char *nft_ctx_get_output_buffer(void *ctx)'),
    error: nftables.func('const char *nft_ctx_get_error_buffer(void *ctx)'),
    setOutputFlags: nftables.func('void nft_ctx_output_set_flags(void *ctx, unsigned int flags)'),
    run: nftables.func('int nft_run_cmd_from_buffer(void *ctx, const char *buf)'),
  };
  return library;
}

/** Commands that nftables refused, with its own text. */
export class NftablesError extends Error {
  constructor(text: string) {
    super(`nftables: ${text.trim()}`);
    this.name = 'NftablesError';
  }
}

/**
 * A libnftables context: commands as nft(8) takes them, run in this process. It belongs to the network namespace that
 * the thread was in when it was made.
 */
export class Nftables implements Disposable {
  readonly #library = load();
  #context: unknown;

  constructor() {
    const context = this.#library.create(NFT_CTX_DEFAULT);
    if (context === null) throw new NftablesError('no context: the kernel may lack nf_tables');
    this.#library.bufferOutput(context);
    this.#library.bufferError(context);
    this.#context = context;
  }

  [Symbol.dispose](): void {
    if (this.#context !== undefined) this.#library.free(this.#context);
    this.#context = undefined;
  }

  /**
   * Runs one batch: all of it takes effect, or nothing.
   * @returns what listing commands print
   * @throws {NftablesError}
   */
  run(commands: string): string {
    const failed = this.#library.run(this.#context, commands) !== 0;
    const output = this.#library.output(this.#context);
    const error = this.#library.error(this.#context);
    if (failed) throw new NftablesError(error === '' ? `refused: ${commands}` : error);
    return output;
  }

  /** The output of a listing command as parsed JSON (libnftables-json(5)), rule handles included. */
  list(command: string): unknown {
    this.#library.setOutputFlags(this.#context, NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_HANDLE);
    try {
      return JSON.parse(this.run(command));
    } finally {
      this.#library.setOutputFlags(this.#context, 0);
    }
  }
}
