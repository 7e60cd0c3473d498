import { TareError } from '../errors/index.ts';

/** A document that a frontend hands over with its result, by its key. @throws {TareError} InvalidArgument: it is no JSON */
export function frontendDocument<T>(bytes: Uint8Array, key: string): T {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8')) as T;
  } catch (error) {
    throw new TareError('InvalidArgument', `the frontend's ${key} is no JSON`, { cause: error });
  }
}
