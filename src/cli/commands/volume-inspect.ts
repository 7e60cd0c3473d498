import { command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';

export default command({
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  options: {
    format: inspectFormatOption,
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'volumes',
  async run(context, options, names) {
    const client = await context.connect();
    return await inspectObjects(context, names, options.format, (name) =>
      client.json('GET', `/volumes/${segment(name)}`),
    );
  },
});
