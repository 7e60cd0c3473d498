import { TareError } from '../../errors/index.ts';
import { checksumOf, filenameOf } from '../dockerfile/copy-words.ts';
import { gitOutput, isDownload, parseGitAddress } from '../dockerfile/git-address.ts';
import * as llb from '../llb/index.ts';

/** What an address names, as a part of a graph, and what of its tree is meant. */
export interface OutsideSource {
  output: llb.Output;
  path: string;
}

/**
 * A file or a git repository that is fetched.
 *
 * @param checksum of the file, or the repository's commit; '': none is asked for
 * @returns undefined: the text is a path
 * @throws {TareError} InvalidArgument: the checksum, or an address that contradicts itself
 */
export function outsideSource(text: string, checksum: string): OutsideSource | undefined {
  const repository = parseGitAddress(text);
  if (repository !== undefined && !repository.couldBePath) {
    if (checksum !== '' && repository.checksum !== undefined && checksum !== repository.checksum)
      throw new TareError(
        'InvalidArgument',
        `checksum mismatch ${JSON.stringify(checksum)} != ${JSON.stringify(repository.checksum)}`,
      );
    const address = checksum === '' ? repository : { ...repository, checksum };
    return { output: gitOutput(address, repository.keepsGitDirectory ?? false, { name: text }), path: '/' };
  }
  if (!isDownload(text)) return undefined;
  const filename = filenameOf(text);
  const file = llb.http(text, { filename, checksum: checksumOf(checksum) }, { name: text });
  return { output: file, path: `/${filename}` };
}
