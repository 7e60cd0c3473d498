import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the removal of one or more volumes' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'volumes',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      await client.json('DELETE', `/volumes/${segment(name)}`, { query: { force: options.force } });
      return name;
    });
  },
});
