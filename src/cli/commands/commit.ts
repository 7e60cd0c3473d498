import { kindOf } from '../../errors/index.ts';
import { type Context, command } from '../command.ts';
import { segment } from '../each.ts';
import type { Options, Values } from '../option.ts';
import { outputElsewhere } from '../working/commit-output.ts';

const flags = {
  author: { type: 'string', short: 'a', help: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")' },
  change: { type: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
  format: {
    type: 'string',
    short: 'f',
    help: "Of a working container: the image's documents (oci, docker)",
    completes: ['oci', 'docker'],
  },
  iidfile: { type: 'string', help: 'Write the image ID to the file', completes: 'files' },
  message: { type: 'string', short: 'm', help: 'Commit message' },
  pause: { type: 'bool', short: 'p', default: true, help: 'Pause container during commit' },
  'no-pause': { type: 'bool', help: 'Disable pausing container during commit' },
  quiet: { type: 'bool', short: 'q', help: 'Print the image ID alone, as it does anyway' },
  rm: { type: 'bool', help: 'Remove the container once its image is made' },
  squash: { type: 'bool', help: 'Of a working container: one layer of all that the image holds' },
  timestamp: {
    type: 'string',
    value: 'seconds',
    help: 'Of a working container: time of the image and latest time of its files, in seconds since 1970 (else SOURCE_DATE_EPOCH)',
  },
} as const satisfies Options;

export default command({
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]|DESTINATION]',
  description:
    'A running container stands still while its changes are read. What it wrote to volumes is not among them. Of a working container (tare from) it makes the image that it was made for; it can be changed further then. In place of a name that image can have a DESTINATION, and is not kept here: docker://NAME (a registry), oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], oci:FOLDER[:NAME] (a folder that begins with a slash or a dot).',
  options: flags,
  args: [1, 2],
  completes: 'all-containers',
  async run(context, options, [container, reference]) {
    const isElsewhere = reference !== undefined && outputElsewhere(reference) !== undefined;
    const isWorking = isElsewhere || options.format !== undefined || options.squash || options.timestamp !== undefined;
    const id = isWorking
      ? await commitWorking(context, container!, reference, options)
      : await commitAny(context, container!, reference, options);
    if (options.iidfile !== undefined) {
      const { writeFileSync } = await import('node:fs');
      writeFileSync(options.iidfile, id);
    }
    context.out(`${id}\n`);
    return 0;
  },
});

type Flags = Values<typeof flags>;

async function commitAny(
  context: Context,
  container: string,
  reference: string | undefined,
  options: Flags,
): Promise<string> {
  const client = await context.connect();
  try {
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
    if (options.rm) await client.json('DELETE', `/containers/${segment(container)}`);
    return Id;
  } catch (error) {
    if (kindOf(error) !== 'NotFound') throw error;
    const { elseWorking } = await import('../working/working-here.ts');
    const { commitOne } = await import('../working/commit-one.ts');
    return await elseWorking(context, container, error, (working) => commitOne(working, reference, options));
  }
}

async function commitWorking(
  context: Context,
  container: string,
  reference: string | undefined,
  options: Flags,
): Promise<string> {
  const [{ withWorking }, { commitOne }] = await Promise.all([
    import('../local/working.ts'),
    import('../working/commit-one.ts'),
  ]);
  return await withWorking(context.globals, container, (working) => commitOne(working, reference, options));
}
