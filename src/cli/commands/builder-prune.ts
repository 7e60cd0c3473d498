import { command } from '../command.ts';
import { parseSize } from '../grammar/sizes.ts';
import { prune, pruneOptions } from '../prune.ts';

const space = { type: 'string', value: 'bytes' } as const;

const spaces = ['keep-storage', 'max-used-space', 'min-free-space', 'reserved-space'] as const;

export default command({
  usage: '[OPTIONS]',
  description:
    'Objects that were unused for longest go first, and only what no other stands on. What a build uses stays. Filters are those of builder du.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Also what images share, and what only the builder itself needs' },
    ...pruneOptions,
    filter: { ...pruneOptions.filter, help: 'Provide filter values (e.g. "until=24h", "type=exec.cachemount")' },
    'keep-storage': { ...space, help: 'The older name of reserved-space' },
    'max-used-space': { ...space, help: 'Most that the cache may take' },
    'min-free-space': { ...space, help: 'What is to be free on the disk afterwards' },
    'reserved-space': { ...space, help: 'What always stays of the cache' },
  },
  args: [0, 0],
  async run(context, { all, force, filter, ...options }) {
    const warning = all ? 'This will remove all build cache.' : 'This will remove all build cache that is not in use.';
    const sizes = spaces.flatMap((name) => {
      const text = options[name];
      return text === undefined ? [] : [[name, String(parseSize(text, name))]];
    });
    const query = { all: String(all), ...Object.fromEntries(sizes) };
    return await prune(context, force, warning, [['build', filter, query]]);
  },
});
