import { command } from '../command.ts';
import { postEach } from '../each.ts';

export default command({
  usage: 'CONTAINER [CONTAINER...]',
  options: {},
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'running-containers',
  run: (context, _options, names) => postEach(context, names, 'pause'),
});
