import { readKeyFile } from './key-file.ts';
import { SignaturePolicy } from './signature-policy.ts';

/**
 * Reads a policy. It is read at every use, as other tools do, so that a change counts at once in every process.
 * @throws {TareError} InvalidArgument: what is wrong with it; NotFound: the file is not there
 */
export function readPolicy(path: string): SignaturePolicy {
  return SignaturePolicy.parse(readKeyFile(path, 'signature policy'), path);
}
