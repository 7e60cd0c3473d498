import { command } from '../command.ts';
import { segment } from '../each.ts';
import { parseMoment } from '../grammar/times.ts';
import { copyOutput } from '../stream/copy.ts';

export default command({
  usage: '[OPTIONS] CONTAINER',
  options: {
    details: { type: 'bool', help: 'Show extra details provided to logs' },
    follow: { type: 'bool', short: 'f', help: 'Follow log output' },
    since: {
      type: 'string',
      help: 'Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
    tail: { type: 'string', short: 'n', help: 'Number of lines to show from the end of the logs', default: 'all' },
    timestamps: { type: 'bool', short: 't', help: 'Show timestamps' },
    until: {
      type: 'string',
      help: 'Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)',
    },
  },
  args: [1, 1],
  completes: 'containers',
  async run(context, options, [name]) {
    const now = Date.now();
    const since = options.since === undefined ? undefined : parseMoment(options.since, '--since', now);
    const until = options.until === undefined ? undefined : parseMoment(options.until, '--until', now);
    const client = await context.connect();
    // The answer is framed unless the container has a terminal, and only its record tells.
    const { Config } = await client.json<{ Config: { Tty: boolean } }>('GET', `/containers/${segment(name!)}/json`);
    const { body } = await client.stream('GET', `/containers/${segment(name!)}/logs`, {
      query: {
        stdout: true,
        stderr: true,
        follow: options.follow,
        details: options.details,
        timestamps: options.timestamps,
        tail: options.tail,
        since,
        until,
      },
    });
    await copyOutput(body, Config.Tty);
    return 0;
  },
});
