import { command } from '../command.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

export default command({
  usage: '[OPTIONS] docker://IMAGE',
  description:
    'Deletes the manifest that the name stands for from its registry. Other tags of the same manifest go with it; blobs stay until ' +
    'the registry collects its garbage.',
  options: accessOptions,
  args: [1, 1],
  async run(context, options, [name]) {
    const local = await import('../local/transports.ts');
    const access = accessFrom(options, '', options.authfile);
    await local.withRetries(options['retry-times'], () => local.deleteHere(context.globals, name!, access));
    return 0;
  },
});
