import { command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';

export default command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  options: {
    format: inspectFormatOption,
    platform: { type: 'string', help: 'Inspect a specific platform of the multi-platform image' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    const client = await context.connect();
    return await inspectObjects(context, names, options.format, (name) =>
      client.json('GET', `/images/${segment(name)}/json`, { query: { platform: options.platform } }),
    );
  },
});
