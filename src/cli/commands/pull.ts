import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { imageName } from '../grammar/image-names.ts';
import { pullImage } from '../pull-image.ts';

export default command({
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  description:
    'Layers come side by side and are unpacked while they come; one that broke off goes on where it stopped. Mirrors, aliases of short ' +
    'names and insecure registries are configured in registries.conf, credentials by `login`.',
  options: {
    'all-platforms': { type: 'bool', help: 'Keep the image for every platform that the registry has' },
    'all-tags': { type: 'bool', short: 'a', help: 'Download all tagged images in the repository' },
    'disable-content-trust': { type: 'bool', help: 'Accepted; policy.json decides', default: true, hidden: true },
    platform: { type: 'string', help: 'Set platform if server is multi-platform capable' },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  args: [1, 1],
  async run(context, options, [text]) {
    const image = imageName(text!);
    const isBare = image.tag === undefined && image.digest === undefined;
    if (options['all-tags'] && !isBare) throw new TareError('InvalidArgument', "tag can't be used with --all-tags/-a");
    if (options['all-platforms'] && options.platform !== undefined)
      throw new TareError('InvalidArgument', '--platform and --all-platforms cannot both be given');
    const client = await context.connect();
    if (isBare && !options['all-tags'] && !options.quiet) context.out('Using default tag: latest\n');
    const name = await pullImage(context, client, text!, {
      platform: options.platform,
      allPlatforms: options['all-platforms'],
      allTags: options['all-tags'],
      quiet: options.quiet,
      descriptor: 1,
    });
    context.out(`${name}\n`);
    return 0;
  },
});
