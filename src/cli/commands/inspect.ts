import { kindOf, TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';

const paths: Record<string, (name: string) => string> = {
  container: (name) => `/containers/${segment(name)}/json`,
  image: (name) => `/images/${segment(name)}/json`,
  network: (name) => `/networks/${segment(name)}`,
  volume: (name) => `/volumes/${segment(name)}`,
};

/** What no daemon has for its clients. */
const WORKING = 'working';

export default command({
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  description: 'Working containers (tare from) are shown with --type working, on the engine of this machine.',
  options: {
    format: inspectFormatOption,
    size: { type: 'bool', short: 's', help: 'Display total file sizes if the type is container' },
    type: {
      type: 'string',
      help: 'Only inspect objects of the given type',
      completes: [...Object.keys(paths), WORKING],
    },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'all-containers',
  async run(context, options, names) {
    const { type } = options;
    if (type === WORKING) {
      const { withWorking } = await import('../local/working.ts');
      return await inspectObjects(context, names, options.format, async (name) => {
        return await withWorking(context.globals, name, (container) => container.inspect());
      });
    }
    if (type !== undefined && !Object.hasOwn(paths, type))
      throw new TareError(
        'InvalidArgument',
        `unknown type ${JSON.stringify(type)} for --type: one of ${[...Object.keys(paths), WORKING].join(', ')}`,
      );
    const client = await context.connect();
    const kinds = type === undefined ? Object.keys(paths) : [type];
    return await inspectObjects(context, names, options.format, async (name) => {
      for (const kind of kinds) {
        try {
          return await client.json('GET', paths[kind]!(name), {
            query: { size: options.size && kind === 'container' },
          });
        } catch (error) {
          if (kindOf(error) !== 'NotFound') throw error;
        }
      }
      throw new TareError('NotFound', `No such ${type ?? 'object'}: ${name}`);
    });
  },
});
