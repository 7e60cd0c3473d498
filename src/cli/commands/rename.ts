import { command } from '../command.ts';
import { segment } from '../each.ts';

export default command({
  usage: 'CONTAINER NEW_NAME',
  options: {},
  args: [2, 2],
  completes: 'containers',
  async run(context, _options, [name, wanted]) {
    const client = await context.connect();
    await client.json('POST', `/containers/${segment(name!)}/rename`, { query: { name: wanted } });
    return 0;
  },
});
