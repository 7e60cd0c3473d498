import { kindOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  options: {
    force: { type: 'bool', short: 'f', help: 'Do not error if the network does not exist' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'networks',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      try {
        await client.json('DELETE', `/networks/${segment(name)}`);
      } catch (error) {
        if (!options.force || kindOf(error) !== 'NotFound') throw error;
      }
      return name;
    });
  },
});
