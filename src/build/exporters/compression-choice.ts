import { TareError } from '../../errors/index.ts';
import type { Attributes } from './attributes.ts';

/** How layers are to be stored. */
export interface CompressionChoice {
  kind: 'none' | 'gzip' | 'zstd';
  /** Of gzip or zstd; undefined: what is fast. */
  level?: number;
  /** Also of layers that are stored already, of base images too. */
  isForced: boolean;
}

/**
 * Options `compression`, `compression-level`, `force-compression`. A level alone is gzip's.
 * @throws {TareError} InvalidArgument; Unsupported: estargz
 */
export function compressionOf(attributes: Attributes, fallback: CompressionChoice['kind']): CompressionChoice {
  const isForced = attributes.flag('force-compression', false);
  if (attributes.text('compression') === 'estargz') {
    throw new TareError('Unsupported', 'compression estargz is not supported: choose gzip, zstd or uncompressed');
  }
  const word = attributes.oneOf('compression', ['uncompressed', 'gzip', 'zstd']);
  const usual = fallback === 'none' && attributes.text('compression-level') !== undefined ? 'gzip' : fallback;
  const kind = word === undefined ? usual : word === 'uncompressed' ? 'none' : word;
  const level = attributes.integer('compression-level', kind === 'zstd' ? 1 : 0, kind === 'zstd' ? 22 : 9);
  if (level !== undefined && kind === 'none') {
    throw new TareError('InvalidArgument', 'compression-level without a compression: set compression to gzip or zstd');
  }
  return { kind, isForced, ...(level === undefined ? {} : { level }) };
}
