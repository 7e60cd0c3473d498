import { command } from '../command.ts';
import { inspectFormatOption } from '../format-option.ts';
import { parseFilters } from '../grammar/filters.ts';
import { parseMoment } from '../grammar/times.ts';
import { sortedByKey } from '../output/text.ts';
import { decodeLine, textLines } from '../stream/progress.ts';
import { execute } from '../template/execute.ts';
import { parseTemplate } from '../template/parse.ts';

interface EventMessage {
  Type: string;
  Action: string;
  Actor: { ID: string; Attributes: Record<string, string> | null };
  time: number;
  /** Digits. */
  timeNano: string;
  [legacy: string]: unknown;
}

export default command({
  usage: '[OPTIONS]',
  options: {
    filter: { type: 'list', short: 'f', value: 'filter', help: 'Filter output based on conditions provided' },
    format: { ...inspectFormatOption, short: undefined },
    since: { type: 'string', help: 'Show all events created since timestamp' },
    until: { type: 'string', help: 'Stream events until this timestamp' },
  },
  args: [0, 0],
  async run(context, options) {
    const now = Date.now();
    const format = options.format ?? '';
    const template = format === '' || format === 'json' ? undefined : parseTemplate(format);
    const client = await context.connect();
    const { body } = await client.stream('GET', '/events', {
      query: {
        since: options.since === undefined ? undefined : parseMoment(options.since, '--since', now),
        until: options.until === undefined ? undefined : parseMoment(options.until, '--until', now),
        filters: parseFilters(options.filter),
      },
    });
    for await (const line of textLines(body)) {
      // As it came: the time in nanoseconds is beyond the numbers of JavaScript.
      if (format === 'json') {
        context.out(`${line}\n`);
        continue;
      }
      const event = { ...decodeLine<EventMessage>(line), timeNano: /"timeNano":\s*(\d+)/.exec(line)?.[1] ?? '' };
      if (template)
        context.out(
          `${execute(template, { ...event, Time: event.time, TimeNano: event.timeNano, ID: event.Actor.ID })}\n`,
        );
      else context.out(`${eventLine(event)}\n`);
    }
    return 0;
  },
});

/** `2026-11-21T03:11:41.123456789Z container start ID (image=busybox, name=web)` */
function eventLine({ Type, Action, Actor, time, timeNano }: EventMessage): string {
  const fraction = timeNano.slice(-9).padStart(9, '0');
  const attributes = sortedByKey(Actor.Attributes).map(([key, value]) => `${key}=${value}`);
  const moment = `${localTime(time)}`.replace('.', `.${fraction}`);
  return `${moment} ${Type} ${Action} ${Actor.ID}${attributes.length > 0 ? ` (${attributes.join(', ')})` : ''}`;
}

/** RFC 3339 in the local zone with a lone point where the fraction goes. */
function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const offset = -date.getTimezoneOffset();
  const local = new Date(seconds * 1000 + offset * 60_000).toISOString().slice(0, 19);
  const two = (n: number) => String(Math.trunc(Math.abs(n))).padStart(2, '0');
  return `${local}.${offset < 0 ? '-' : '+'}${two(offset / 60)}:${two(offset % 60)}`;
}
