import { command } from '../command.ts';
import { postEach } from '../each.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    signal: { type: 'string', short: 's', help: 'Signal to send to the container' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'running-containers',
  run: (context, { signal }, names) => postEach(context, names, 'kill', { signal }),
});
