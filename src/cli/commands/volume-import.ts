import { command } from '../command.ts';
import { segment } from '../each.ts';
import { openInput } from '../stream/files.ts';

export default command({
  usage: 'VOLUME [FILE|-]',
  description:
    'The tar may be compressed (gzip, zstd, xz, bzip2) and is read from standard input unless a file is named. What the volume holds stays, save what has the same name.',
  options: {},
  args: [1, 2],
  completes: 'volumes',
  async run(context, _options, [name, source = '-']) {
    const body = openInput(source);
    const client = await context.connect();
    await client.stream('PUT', `/tare/volumes/${segment(name!)}/archive`, {
      headers: { 'content-type': 'application/x-tar' },
      body,
    });
    return 0;
  },
});
