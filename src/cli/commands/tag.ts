import { command } from '../command.ts';
import { segment } from '../each.ts';

export default command({
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  options: {},
  args: [2, 2],
  completes: 'images',
  async run(context, _options, [source, wanted]) {
    const client = await context.connect();
    const colon = wanted!.lastIndexOf(':');
    const tagged = colon >= 0 && !wanted!.includes('/', colon);
    await client.json('POST', `/images/${segment(source!)}/tag`, {
      query: { repo: tagged ? wanted!.slice(0, colon) : wanted, tag: tagged ? wanted!.slice(colon + 1) : undefined },
    });
    return 0;
  },
});
