import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { openInput } from '../stream/files.ts';
import { readProgress } from '../stream/progress.ts';

export default command({
  usage: '[OPTIONS] FILE|- [REPOSITORY[:TAG]]',
  description: 'The tar may be compressed (gzip, zstd, xz, bzip2); `-` reads it from standard input.',
  options: {
    change: { type: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { type: 'string', short: 'm', help: 'Set commit message for imported image' },
    platform: { type: 'string', help: 'Set platform if server is multi-platform capable' },
  },
  args: [1, 2],
  completes: 'files',
  async run(context, options, [source, reference]) {
    if (/^https?:\/\//.test(source!))
      throw new TareError(
        'Unsupported',
        `importing from ${source} is not supported: download it and import the file, or pipe it into 'tare import -'`,
      );
    const input = openInput(source!);
    const client = await context.connect();
    const { body } = await client.stream('POST', '/images/create', {
      query: {
        fromSrc: '-',
        repo: reference,
        message: options.message,
        platform: options.platform,
        changes: options.change,
      },
      headers: { 'content-type': 'application/x-tar' },
      body: input,
    });
    await readProgress(body, (message) => {
      if (message.status) context.out(`${message.status}\n`);
    });
    return 0;
  },
});
