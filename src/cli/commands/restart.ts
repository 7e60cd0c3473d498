import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    signal: { type: 'string', short: 's', help: 'Signal to send to the container' },
    timeout: { type: 'int', short: 't', help: 'Seconds to wait before killing the container' },
    time: { type: 'int', help: 'Seconds to wait before killing the container', hidden: true },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      await client.json('POST', `/containers/${segment(name)}/restart`, {
        query: { signal: options.signal, t: options.timeout ?? options.time },
      });
      return name;
    });
  },
});
