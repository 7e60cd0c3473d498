import { command } from '../command.ts';
import { segment } from '../each.ts';
import { table } from '../output/table.ts';

export default command({
  usage: 'CONTAINER [ps OPTIONS]',
  options: {},
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'running-containers',
  async run(context, _options, [name, ...words]) {
    const client = await context.connect();
    const { Titles, Processes } = await client.json<{ Titles: string[]; Processes: string[][] }>(
      'GET',
      `/containers/${segment(name!)}/top`,
      {
        query: { ps_args: words.join(' ') },
      },
    );
    context.out(table([Titles, ...Processes], 3, 20));
    return 0;
  },
});
