import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { copyFromContainer } from '../copy/from-container.ts';
import { splitCopyArgument } from '../copy/paths.ts';
import { copyToContainer } from '../copy/to-container.ts';

export default command({
  usage: '[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|- | SRC_PATH|- CONTAINER:DEST_PATH',
  description:
    "'-' as the source reads a tar archive from standard input and unpacks it to a folder in the container; '-' as the destination writes a " +
    'tar archive of the source to standard output. SRC_PATH/. copies what is in a folder, without the folder itself.',
  options: {
    archive: { type: 'bool', short: 'a', help: 'Archive mode (copy all uid/gid information)' },
    'follow-link': { type: 'bool', short: 'L', help: 'Always follow symbol link in SRC_PATH' },
    quiet: { type: 'bool', short: 'q', help: 'Suppress progress output during copy' },
  },
  args: [2, 2],
  completes: 'files',
  async run(context, options, words) {
    const [source, destination] = words.map(splitCopyArgument);
    if (source!.path === '' || destination!.path === '')
      throw new TareError('InvalidArgument', 'neither source nor destination can be empty');
    if (source!.container && destination!.container)
      throw new TareError('Unsupported', 'copying between containers is not supported');
    if (!source!.container && !destination!.container)
      throw new TareError('InvalidArgument', 'must specify at least one container source: CONTAINER:PATH');
    const client = await context.connect();
    const copy = { client, archive: options.archive, followLink: options['follow-link'] };
    if (source!.container)
      await copyFromContainer(copy, { ...source!, container: source!.container }, destination!.path);
    else await copyToContainer(copy, source!.path, { ...destination!, container: destination!.container! });
    return 0;
  },
});
