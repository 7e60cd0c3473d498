import { command } from '../command.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

export default command({
  usage: '[OPTIONS] docker://REPOSITORY',
  description: 'Prints the repository and its tags as JSON, as skopeo list-tags does.',
  options: accessOptions,
  args: [1, 1],
  async run(context, options, [name]) {
    const local = await import('../local/transports.ts');
    const access = accessFrom(options, '', options.authfile);
    const { repository, tags } = await local.withRetries(options['retry-times'], () =>
      local.tagsHere(context.globals, name!, access),
    );
    context.out(`${JSON.stringify({ Repository: repository, Tags: tags }, null, 4)}\n`);
    return 0;
  },
});
