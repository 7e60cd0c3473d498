import { TareError } from '../../errors/index.ts';
import { parseReference, type Reference, withDefaultTag } from '../../image/index.ts';
import type { Attributes } from './attributes.ts';

const MAX_NAMES = 100;

/** By what an image is to be known and where it is to be pushed. */
export interface ImageNames {
  /** With tags, in the order given. */
  names: Reference[];
  /** As the client wrote them. */
  text: string;
}

/**
 * Option `name`: several, by commas. The name `*` is what the frontend calls it.
 * @throws {TareError} InvalidArgument
 */
export function imageNames(attributes: Attributes, metadata: ReadonlyMap<string, Uint8Array>): ImageNames {
  const said = attributes.text('name') ?? '';
  const given = said === '*' ? metadata.get('image.name') : undefined;
  const text = given === undefined ? said : Buffer.from(given).toString('utf8');
  const parts = text.split(',').filter((part) => part !== '');
  if (parts.length > MAX_NAMES) {
    throw new TareError('InvalidArgument', `${parts.length} names for one image: at most ${MAX_NAMES} are allowed`);
  }
  // An image without a name is found by its id and every image by its digest: containerd needs names for that.
  attributes.ignore('dangling-name-prefix', 'name-canonical');
  return {
    names: parts.map((part) => named(part.trim())),
    text,
  };
}

function named(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.digest === undefined) return name;
  throw new TareError(
    'InvalidArgument',
    `invalid image name ${JSON.stringify(text)}: a name to be given has no digest`,
  );
}
