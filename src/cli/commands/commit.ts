import { command } from '../command.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  description:
    'A running container stands still while its changes are read. What it wrote to volumes is not among them.',
  options: {
    author: { type: 'string', short: 'a', help: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")' },
    change: { type: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { type: 'string', short: 'm', help: 'Commit message' },
    pause: { type: 'bool', short: 'p', default: true, help: 'Pause container during commit' },
    'no-pause': { type: 'bool', help: 'Disable pausing container during commit' },
  },
  args: [1, 2],
  completes: 'containers',
  async run(context, options, [container, reference]) {
    const client = await context.connect();
    const { Id } = await client.json<{ Id: string }>('POST', '/commit', {
      query: {
        container,
        repo: reference,
        comment: options.message,
        author: options.author,
        changes: options.change,
        // Unless told, the engine pauses.
        pause: options.pause && !options['no-pause'] ? undefined : '0',
      },
    });
    context.out(`${Id}\n`);
    return 0;
  },
});
