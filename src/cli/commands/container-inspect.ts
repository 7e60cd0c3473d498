import { command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    format: inspectFormatOption,
    size: { type: 'bool', short: 's', help: 'Display total file sizes' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, names) {
    const client = await context.connect();
    return await inspectObjects(context, names, options.format, (name) =>
      client.json('GET', `/containers/${segment(name)}/json`, { query: { size: options.size } }),
    );
  },
});
