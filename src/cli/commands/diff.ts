import { command } from '../command.ts';
import { segment } from '../each.ts';

/** By the API's number. */
const kinds = ['C', 'A', 'D'];

export default command({
  usage: 'CONTAINER',
  options: {},
  args: [1, 1],
  completes: 'containers',
  async run(context, _options, [name]) {
    const client = await context.connect();
    const changes = await client.json<{ Path: string; Kind: number }[] | null>(
      'GET',
      `/containers/${segment(name!)}/changes`,
    );
    context.out((changes ?? []).map(({ Kind, Path }) => `${kinds[Kind] ?? '?'} ${Path}\n`).join(''));
    return 0;
  },
});
