import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AT_FDCWD, type ByteString, O_DIRECTORY, OpenFile, openAt, toByteString } from '../../linux/index.ts';
import { chainIDOf, hexOf, type LayerName } from '../digest.ts';
import type { LayerStack } from '../snapshot-driver.ts';
import { bootId } from './boot.ts';
import { restoreFolders } from './restored-folders.ts';
import { openStack } from './stack.ts';

/**
 * The extra top layers of `restoreFolders`, one for each stack that needs it, named by its chainID and the boot: they are not
 * synced, and after the next boot made anew.
 */
export class RestoredLayers {
  readonly #bootId = bootId();
  readonly #directory: string;
  readonly #opaque: ByteString;

  constructor(directory: string, opaque: ByteString) {
    this.#directory = directory;
    this.#opaque = opaque;
  }

  /**
   * The extra layer for a stack, made when it is not there.
   *
   * @param parents base first
   * @returns undefined: every layer names all its folders, so none is needed
   */
  path(parents: readonly LayerName[], stack: LayerStack): string | undefined {
    const chainID = chainIDOf(parents);
    // The base has nothing below it that it could hide.
    if (chainID === undefined || stack.records.slice(0, -1).every(({ implied }) => implied.length === 0))
      return undefined;
    const path = join(this.#directory, `${hexOf(chainID)}.${this.#bootId}`);
    if (!existsSync(path)) this.#make(path, stack);
    return path;
  }

  #make(path: string, stack: LayerStack): void {
    const draft = join(this.#directory, `new-${randomBytes(8).toString('hex')}`);
    mkdirSync(draft, { recursive: true, mode: 0o755 });
    {
      using layers = openStack(stack);
      using target = new OpenFile(openAt(AT_FDCWD, toByteString(draft), O_DIRECTORY));
      const described = layers.fds.map((fd, index) => ({ fd, implied: new Set(stack.records[index]?.implied) }));
      restoreFolders(target.fd, described, this.#opaque);
    }
    try {
      renameSync(draft, path);
    } catch (error) {
      // Another process made the same; the draft goes with the next sweep.
      if (!/^(ENOTEMPTY|EEXIST)$/.test(String((error as { code?: unknown }).code))) throw error;
    }
  }

  /** Removes those that no stack in use needs. @param used parents of the snapshots there are, base first */
  async sweep(used: readonly (readonly LayerName[])[]): Promise<void> {
    if (!existsSync(this.#directory)) return;
    const chains = new Set(used.map((parents) => `${chainIDOf(parents)?.slice('sha256:'.length)}.${this.#bootId}`));
    for (const name of await readdir(this.#directory)) {
      if (!chains.has(name)) await rm(join(this.#directory, name), { recursive: true, force: true });
    }
  }
}
