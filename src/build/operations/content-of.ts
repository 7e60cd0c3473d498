import { TareError } from '../../errors/index.ts';
import type { ContentSelector } from '../../storage/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import type { Tree } from '../tree.ts';

/** A digest of parts of an input. @throws {TareError} NotFound: a part is not there, in the words that clients look for */
export async function contentOf(
  { layers }: Pick<BuilderParts, 'layers'>,
  tree: Tree,
  parts: readonly ContentSelector[],
  signal: AbortSignal,
): Promise<string> {
  try {
    return await layers.contentDigest(tree.layers, parts, { isRootless: tree.isRootless === true, signal });
  } catch (error) {
    if (!(error instanceof TareError)) throw error;
    const ref = tree.layers.at(-1)?.replace(/^\w+:/, '').slice(0, 12) ?? 'scratch';
    throw new TareError(error.kind, `failed to calculate checksum of ref ${ref}: ${error.message}`, { cause: error });
  }
}
