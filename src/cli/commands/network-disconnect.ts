import { command } from '../command.ts';
import { segment } from '../each.ts';

export default command({
  usage: '[OPTIONS] NETWORK CONTAINER',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the container to disconnect from a network' },
  },
  args: [2, 2],
  completes: 'networks',
  async run(context, options, [network, container]) {
    const client = await context.connect();
    await client.json('POST', `/networks/${segment(network!)}/disconnect`, {
      body: { Container: container, Force: options.force },
    });
    return 0;
  },
});
