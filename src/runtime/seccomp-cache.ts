import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compileSeccompFilter, type SeccompRules } from '../linux/index.ts';
import { isRawNumber } from './json-number.ts';
import type { OciSeccomp, OciSpec } from './oci-spec.ts';
import type { RuntimeBinary } from './runtime.ts';

/** crun takes a compiled filter from this annotation and leaves `linux.seccomp` alone; other runtimes do the reverse. */
const annotation = 'run.oci.seccomp_bpf_data';

const digestBytes = 32;
const maxKept = 64;

/**
 * Compiled seccomp filters. A runtime compiles the default profile anew for every container, which is more than half of
 * the time that crun takes (docs/decisions/seccomp-compiled-once.md); the profile seldom changes, so it is compiled once.
 */
export class SeccompCache {
  readonly #directory: string;
  /** base64 by key; immutable, so any number of processes may keep their own. */
  readonly #known = new Map<string, string>();

  /** @param directory ours alone, gone with the next boot (on the runtime root), so no filter outlives kernel or library */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Adds the compiled filter of a spec to it where the runtime takes one. Without libseccomp, or for rules that only a
   * runtime can set up, the spec stays as it is and the runtime compiles.
   */
  embed(spec: OciSpec, runtime: RuntimeBinary): void {
    const { seccomp } = spec.linux;
    if (seccomp === undefined || basename(runtime.path) !== 'crun') return;
    // Listeners and an annotation of the user's own are between the user and the runtime.
    if (seccomp.listenerPath !== undefined || spec.annotations?.[annotation] !== undefined) return;
    const filter = this.#filter(seccomp);
    if (filter !== undefined) spec.annotations = { ...spec.annotations, [annotation]: filter };
  }

  #filter(seccomp: OciSeccomp): string | undefined {
    const key = createHash('sha256').update(JSON.stringify(seccomp)).digest('hex');
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const program = this.#read(key) ?? this.#compile(key, seccomp);
    if (program === undefined) return undefined;
    if (this.#known.size >= maxKept) this.#known.clear();
    const text = program.toString('base64');
    this.#known.set(key, text);
    return text;
  }

  /** A stored program, if it is whole: a power cut may have left less of it. */
  #read(key: string): Buffer | undefined {
    let stored: Buffer;
    try {
      stored = readFileSync(join(this.#directory, key));
    } catch {
      return undefined;
    }
    const program = stored.subarray(digestBytes);
    return program.length > 0 && digest(program).equals(stored.subarray(0, digestBytes)) ? program : undefined;
  }

  #compile(key: string, seccomp: OciSeccomp): Buffer | undefined {
    let program: Buffer | undefined;
    try {
      program = compileSeccompFilter(toRules(seccomp));
    } catch (error) {
      // The runtime is asked to compile the same rules and says what is wrong with them in its own words.
      if (error instanceof RangeError) return undefined;
      throw error;
    }
    if (program !== undefined) this.#store(key, program);
    return program;
  }

  #store(key: string, program: Buffer): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, key);
    const draft = `${path}.${process.pid}`;
    try {
      const fd = openSync(draft, 'w', 0o600);
      try {
        writeSync(fd, Buffer.concat([digest(program), program]));
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(draft, path);
    } catch {
      // A full disk costs the next process the compilation, and nothing else.
      rmSync(draft, { force: true });
    }
  }
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

function toRules(seccomp: OciSeccomp): SeccompRules {
  const exact = (value: number | { rawJSON: string }) =>
    isRawNumber(value) ? BigInt(value.rawJSON) : (value as number);
  return {
    ...seccomp,
    syscalls: seccomp.syscalls?.map((rule) => ({
      ...rule,
      args: rule.args?.map(({ index, op, value, valueTwo }) => ({
        index,
        op,
        value: exact(value),
        valueTwo: exact(valueTwo ?? 0),
      })),
    })),
  };
}
