import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { copyTo } from '../stream/copy.ts';
import { writeFileSafely } from '../stream/output-file.ts';

export default command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  description: 'The tar is a docker archive and an OCI layout in one.',
  options: {
    output: { type: 'string', short: 'o', help: 'Write to a file, instead of STDOUT', completes: 'files' },
    platform: {
      type: 'string',
      help: 'Save only the given platform variant, "os[/arch[/variant]]" (e.g., "linux/amd64")',
    },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    if (options.output === undefined && process.stdout.isTTY)
      throw new TareError('InvalidArgument', 'cowardly refusing to save to a terminal. Use the -o flag or redirect');
    const client = await context.connect();
    const { body } = await client.stream('GET', '/images/get', {
      query: { names, platform: options.platform },
    });
    if (options.output === undefined) await copyTo(1, body);
    else await writeFileSafely(options.output, body);
    return 0;
  },
});
