import { kindOf, messageOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the removal of a running container (uses SIGKILL)' },
    link: { type: 'bool', short: 'l', help: 'Remove the specified link' },
    volumes: { type: 'bool', short: 'v', help: 'Remove anonymous volumes associated with the container' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      try {
        await client.json('DELETE', `/containers/${segment(name)}`, {
          query: { force: options.force, link: options.link, v: options.volumes },
        });
      } catch (error) {
        // What is to be gone and is not there is no failure of rm -f.
        if (!options.force || kindOf(error) !== 'NotFound') throw error;
        context.err(`tare: ${messageOf(error)}\n`);
        return undefined;
      }
      return name;
    });
  },
});
