import { TareError } from '../../errors/index.ts';
import { canonical, parseReference, type Reference, withDefaultTag } from '../../image/index.ts';
import type { Digest } from '../../storage/index.ts';
import type { Attributes } from './attributes.ts';

const MAX_NAMES = 100;

/** By what an image is to be known and where it is to be pushed. */
export interface ImageNames {
  /** With tags, in the order given. */
  names: Reference[];
  /** As the client wrote them. */
  text: string;
  /** An image without a name is known by this repository and its digest. */
  dangling: Reference | undefined;
  /** It is known by its digest in its repositories, too. */
  isCanonical: boolean;
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
  const prefix = attributes.text('dangling-name-prefix');
  return {
    names: parts.map((part) => named(part.trim())),
    text,
    dangling: prefix === undefined ? undefined : repository(prefix),
    isCanonical: attributes.flag('name-canonical', false),
  };
}

/** By what an image is known in a store: tags, and its digest where that is wanted. */
export function storedNames({ names, dangling, isCanonical }: ImageNames, digest: Digest): string[] {
  const tags = names.map(canonical);
  if (names.length === 0) return dangling === undefined ? [] : [canonical({ ...dangling, digest })];
  if (!isCanonical) return tags;
  return [...tags, ...new Set(names.map(({ domain, path }) => canonical({ domain, path, digest })))];
}

function repository(text: string): Reference {
  const { domain, path, tag, digest } = parseReference(text);
  if (tag === undefined && digest === undefined) return { domain, path };
  throw new TareError(
    'InvalidArgument',
    `invalid dangling-name-prefix ${JSON.stringify(text)}: want a repository without a tag or digest`,
  );
}

function named(text: string): Reference {
  const name = withDefaultTag(parseReference(text));
  if (name.digest === undefined) return name;
  throw new TareError(
    'InvalidArgument',
    `invalid image name ${JSON.stringify(text)}: a name to be given has no digest`,
  );
}
