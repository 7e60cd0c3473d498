import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    signal: { type: 'string', short: 's', help: 'Signal to send to the container' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'running-containers',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      await client.json('POST', `/containers/${segment(name)}/kill`, { query: { signal: options.signal } });
      return name;
    });
  },
});
