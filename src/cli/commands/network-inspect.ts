import { command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';

export default command({
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  options: {
    format: inspectFormatOption,
    verbose: { type: 'bool', short: 'v', help: 'Verbose output for diagnostics' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'networks',
  async run(context, options, names) {
    const client = await context.connect();
    return await inspectObjects(context, names, options.format, (name) =>
      client.json('GET', `/networks/${segment(name)}`, { query: { verbose: options.verbose } }),
    );
  },
});
