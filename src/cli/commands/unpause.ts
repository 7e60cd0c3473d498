import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: 'CONTAINER [CONTAINER...]',
  options: {},
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'running-containers',
  async run(context, _options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      await client.json('POST', `/containers/${segment(name)}/unpause`);
      return name;
    });
  },
});
