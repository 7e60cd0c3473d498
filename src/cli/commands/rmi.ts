import { messageOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { platformJson } from '../grammar/platforms.ts';
import { ApiError } from '../transport/client.ts';

export default command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force removal of the image' },
    'no-prune': { type: 'bool', help: 'Do not delete untagged parents' },
    platform: { type: 'list', help: 'Remove only this platform of an image, "os[/arch[/variant]]"' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    const platforms = options.platform.map((text) => platformJson(text)!);
    const client = await context.connect();
    let code = 0;
    for (const name of names) {
      try {
        const removed = await client.json<{ Untagged?: string; Deleted?: string }[]>(
          'DELETE',
          `/images/${segment(name)}`,
          {
            query: { force: options.force, noprune: options['no-prune'], platforms },
          },
        );
        for (const { Untagged, Deleted } of removed) {
          if (Untagged) context.out(`Untagged: ${Untagged}\n`);
          if (Deleted) context.out(`Deleted: ${Deleted}\n`);
        }
      } catch (error) {
        context.err(`tare: ${messageOf(error)}\n`);
        // What is to be gone and is not there is no failure of rmi -f.
        if (!(options.force && error instanceof ApiError && error.status === 404)) code = 1;
      }
    }
    return code;
  },
});
