import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { fullName, fullReference, imageName } from '../grammar/image-names.ts';
import { platformJson } from '../grammar/platforms.ts';
import { TransferProgress } from '../output/transfer-progress.ts';
import { askFor } from '../registry-auth.ts';
import { readProgress } from '../stream/progress.ts';

export default command({
  usage: '[OPTIONS] NAME[:TAG]',
  description: 'Layers that the registry has are not sent again. Credentials are those that `login` kept.',
  options: {
    'all-tags': { type: 'bool', short: 'a', help: 'Push all tags of an image to the repository' },
    'disable-content-trust': { type: 'bool', help: 'Accepted; nothing is signed', default: true, hidden: true },
    platform: {
      type: 'string',
      help: 'Push the manifest of one platform, "os[/arch[/variant]]", instead of the whole index',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  args: [1, 1],
  completes: 'images',
  async run(context, options, [text]) {
    const image = imageName(text!);
    if (image.digest !== undefined) throw new TareError('InvalidArgument', 'cannot push a digest reference');
    if (options['all-tags'] && image.tag !== undefined)
      throw new TareError('InvalidArgument', "tag can't be used with --all-tags/-a");
    const client = await context.connect();
    if (!options['all-tags'] && image.tag === undefined) {
      image.tag = 'latest';
      if (!options.quiet) context.out('Using default tag: latest\n');
    }
    const name = fullName(image.name);
    const { body } = await client.stream('POST', `/images/${name.split('/').map(encodeURIComponent).join('/')}/push`, {
      query: { tag: image.tag, platform: platformJson(options.platform) },
      headers: (await askFor(context, name)).headers,
    });
    {
      using progress = new TransferProgress(context, 1, options.quiet);
      await readProgress(body, (line) => progress.show(line));
    }
    if (options.quiet) context.out(`${fullReference(image)}\n`);
    return 0;
  },
});
