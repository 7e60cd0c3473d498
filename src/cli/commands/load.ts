import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { command } from '../command.ts';
import { TransferProgress } from '../output/transfer-progress.ts';
import { openInput } from '../stream/files.ts';
import { readProgress } from '../stream/progress.ts';
import { tarFolder } from '../stream/tar-folder.ts';

export default command({
  usage: '[OPTIONS]',
  description: 'Takes docker archives and OCI layouts, as a tar (compressed or not) or as an unpacked folder.',
  options: {
    input: {
      type: 'string',
      short: 'i',
      help: 'Read from a tar archive or a folder, instead of STDIN',
      completes: 'files',
    },
    platform: {
      type: 'string',
      help: 'Load only the given platform variant, "os[/arch[/variant]]" (e.g., "linux/amd64")',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress the load output' },
  },
  args: [0, 0],
  async run(context, options) {
    const path = options.input ?? '-';
    const isFolder = path !== '-' && statSync(path, { throwIfNoEntry: false })?.isDirectory();
    const body = isFolder ? tarFolder(resolve(path)) : openInput(path);
    const client = await context.connect();
    const answer = await client.stream('POST', '/images/load', {
      query: { quiet: options.quiet || !process.stdout.isTTY, platform: options.platform },
      headers: { 'content-type': 'application/x-tar' },
      body,
    });
    using progress = new TransferProgress(context, 1, options.quiet);
    await readProgress(answer.body, (line) => {
      if (line.stream === undefined) progress.show(line);
      else progress.say(line.stream.trimEnd());
    });
    return 0;
  },
});
