import { command } from '../command.ts';
import { createContainer } from '../create-container.ts';
import { createOptions } from '../create-options.ts';

export default command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: createOptions,
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'images',
  async run(context, options, [image, ...words]) {
    const { id } = await createContainer(context, options, image!, words);
    context.out(`${id}\n`);
    return 0;
  },
});
