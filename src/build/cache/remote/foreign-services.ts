import { TareError } from '../../../errors/index.ts';

/** @throws {TareError} Unsupported: a cache in somebody's cloud */
export function refuseForeignService(type: string): void {
  if (!['gha', 's3', 'azblob'].includes(type)) return;
  throw new TareError('Unsupported', `caches of type ${type} are not supported: use registry, local or inline`);
}
