import { type Command, command } from './command.ts';
import { postEach } from './each.ts';

/** `stop` and `restart`: the same words, and the same request but for its verb. */
export const stopCommand = (verb: 'restart' | 'stop', completes: Command['completes']) =>
  command({
    usage: '[OPTIONS] CONTAINER [CONTAINER...]',
    options: {
      signal: { type: 'string', short: 's', help: 'Signal to send to the container' },
      timeout: { type: 'int', short: 't', help: 'Seconds to wait before killing the container' },
      time: { type: 'int', help: 'Seconds to wait before killing the container', hidden: true },
    },
    args: [1, Number.POSITIVE_INFINITY],
    completes,
    run: (context, { signal, timeout, time }, names) => postEach(context, names, verb, { signal, t: timeout ?? time }),
  });
