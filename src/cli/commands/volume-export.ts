import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { copyTo } from '../stream/copy.ts';
import { writeFileSafely } from '../stream/output-file.ts';

export default command({
  usage: '[OPTIONS] VOLUME',
  options: {
    output: { type: 'string', short: 'o', help: 'Write to a file, instead of STDOUT', completes: 'files' },
  },
  args: [1, 1],
  completes: 'volumes',
  async run(context, options, [name]) {
    if (options.output === undefined && process.stdout.isTTY)
      throw new TareError('InvalidArgument', 'cowardly refusing to save to a terminal. Use the -o flag or redirect');
    const client = await context.connect();
    const { body } = await client.stream('GET', `/tare/volumes/${segment(name!)}/archive`);
    if (options.output === undefined) await copyTo(1, body);
    else await writeFileSafely(options.output, body);
    return 0;
  },
});
