import { createHash, randomBytes } from 'node:crypto';
import { TareError } from '../errors/index.ts';

declare const brand: unique symbol;

/** `sha256:` and 64 lower-case hex digits, told apart by what was hashed. */
type Hash<Of extends string> = `sha256:${string}` & { readonly [brand]: Of };
/** Names the stored bytes of a blob. */
export type Digest = Hash<'blob'>;
/** Names a layer by its uncompressed tar (image-spec, config.md, "Layer DiffID"). */
export type DiffID = Hash<'uncompressed tar'>;
/** Names a layer that no tar was made of yet: `local:` and 32 hex digits, chosen at random. */
export type LocalLayer = `local:${string}` & { readonly [brand]: 'local layer' };
/** A layer in the layer store. */
export type LayerName = DiffID | LocalLayer;
/** Names a layer with everything below it (image-spec, config.md, "Layer ChainID"). */
export type ChainID = Hash<'layer stack'>;

const pattern = /^sha256:[0-9a-f]{64}$/;
const localPattern = /^local:[0-9a-f]{32}$/;

/** A name that no layer has. */
export const newLocalLayer = (): LocalLayer => `local:${randomBytes(16).toString('hex')}` as LocalLayer;
export const isLocalLayer = (name: string): name is LocalLayer => localPattern.test(name);

function parse<T>(text: unknown, what: string): T {
  if (typeof text === 'string' && pattern.test(text)) return text as T;
  throw new TareError(
    'InvalidArgument',
    `invalid ${what} ${JSON.stringify(text)}: want sha256: and 64 lower-case hex digits`,
  );
}

/** @throws {TareError} InvalidArgument */
export const parseDigest = (text: unknown): Digest => parse<Digest>(text, 'digest');
/** @throws {TareError} InvalidArgument */
export const parseDiffID = (text: unknown): DiffID => parse<DiffID>(text, 'diffID');
/** Whether a text has the form of a digest. */
export const isDigest = (text: string): text is Digest => pattern.test(text);
/** The 64 hex digits. */
export const hexOf = (digest: Digest | DiffID | ChainID): string => digest.slice('sha256:'.length);
/** The digest of bytes in memory. */
export const digestOf = (bytes: Uint8Array | string): Digest =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;

/** The chainID of a stack of layers, base first; undefined for no layers. Such a name of a stack with local layers is ours alone. */
export function chainIDOf(diffIDs: readonly LayerName[]): ChainID | undefined {
  let chain: string | undefined;
  for (const name of diffIDs) chain = chain === undefined ? name : digestOf(`${chain} ${name}`);
  return chain as ChainID | undefined;
}

/** Bytes are not those that their name promises. */
export class DigestMismatch extends TareError {
  readonly expected: string;
  readonly actual: string;
  constructor(what: string, expected: string, actual: string) {
    super(
      'InvalidArgument',
      `${what} has digest ${actual}, expected ${expected}: the bytes are damaged or not the ones named`,
    );
    this.expected = expected;
    this.actual = actual;
  }
}
