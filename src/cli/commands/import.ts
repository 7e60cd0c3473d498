import { command } from '../command.ts';
import { openInput } from '../stream/files.ts';
import { readProgress } from '../stream/progress.ts';

export default command({
  usage: '[OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]',
  description:
    'The tar may be compressed (gzip, zstd, xz, bzip2); `-` reads it from standard input, a URL is fetched by the engine.',
  options: {
    change: { type: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { type: 'string', short: 'm', help: 'Set commit message for imported image' },
    platform: { type: 'string', help: 'Set platform if server is multi-platform capable' },
  },
  args: [1, 2],
  completes: 'files',
  async run(context, options, [source, reference]) {
    const isUrl = /^https?:\/\//.test(source!);
    const input = isUrl ? undefined : openInput(source!);
    const client = await context.connect();
    const { body } = await client.stream('POST', '/images/create', {
      query: {
        fromSrc: isUrl ? source : '-',
        repo: reference,
        message: options.message,
        platform: options.platform,
        changes: options.change,
      },
      ...(input !== undefined && { headers: { 'content-type': 'application/x-tar' }, body: input }),
    });
    await readProgress(body, (message) => {
      if (message.status && message.progressDetail === undefined) context.out(`${message.status}\n`);
    });
    return 0;
  },
});
