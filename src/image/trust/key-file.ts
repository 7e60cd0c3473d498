import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { messageOf, TareError } from '../../errors/index.ts';
import type { KeySource } from './requirement.ts';

const MAX_KEY_BYTES = 4 << 20;

/** @throws {TareError} NotFound, InvalidArgument: the file that the policy names cannot be read */
export function readKeyFile(path: string, what: string): Buffer {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r');
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new TareError(isMissing ? 'NotFound' : 'InvalidArgument', `${what}: ${messageOf(cause)}`, { cause });
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile()) throw new TareError('InvalidArgument', `${what}: ${path} is not a file`);
    if (stat.size > MAX_KEY_BYTES) {
      throw new TareError(
        'InvalidArgument',
        `${what}: ${path} has ${stat.size} bytes, at most ${MAX_KEY_BYTES} are allowed`,
      );
    }
    return readFileSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** All of a source's bytes. @throws {TareError} NotFound, InvalidArgument */
export const readKeys = (source: KeySource, what: string): Buffer[] =>
  'paths' in source ? source.paths.map((path) => readKeyFile(path, what)) : [...source.datas];
