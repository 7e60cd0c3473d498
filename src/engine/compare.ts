import { kindOf, TareError } from '../errors/index.ts';
import type { Change, TreeName } from '../storage/index.ts';
import type { EngineParts } from './parts.ts';

/** What comparing works with. */
export type CompareParts = Pick<EngineParts, 'store' | 'layers' | 'images'>;

/**
 * What the second of two has more, less and otherwise, each a container or an image; a name that both have is the
 * container's. Sorted by path, at the reader's pace.
 *
 * @throws {TareError} NotFound: neither a container nor an image
 */
export async function* compareRefs(parts: CompareParts, before: string, after: string): AsyncGenerator<Change> {
  // Nothing is collected while its layers are read.
  await using _held = await parts.images.hold();
  const [old, now] = [await treeOf(parts, before), await treeOf(parts, after)];
  yield* parts.layers.compare(old, now);
}

async function treeOf({ store, images }: CompareParts, ref: string): Promise<TreeName> {
  try {
    return { snapshot: store.get(ref).id };
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
  }
  let id: string;
  try {
    ({ id } = images.resolve(ref));
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    throw new TareError('NotFound', `No such container or image: ${ref}`, { cause: error });
  }
  return { layers: await images.ensureUnpacked(id) };
}
