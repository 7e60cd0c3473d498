import { command } from '../command.ts';

export default command({
  usage: '',
  description: 'Read it with: tare man | man -l -',
  options: {},
  args: [0, 0],
  async run(context) {
    const { manualPage } = await import('../manual.ts');
    context.out(await manualPage());
    return 0;
  },
});
