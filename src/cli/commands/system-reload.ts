import { command } from '../command.ts';

export default command({
  usage: '',
  description:
    'As SIGHUP to the daemon does. A file with an error leaves everything as it was. What only counts at the next start is named.',
  options: {},
  args: [0, 0],
  async run(context) {
    const client = await context.connect();
    const { Changed, Kept } = await client.json<{ Changed: string[]; Kept: string[] }>('POST', '/tare/reload');
    context.out(`Changed: ${Changed.join(', ') || 'nothing'}\n`);
    if (Kept.length > 0) context.out(`From the next start on: ${Kept.join(', ')}\n`);
    return 0;
  },
});
