import { kindOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { createContainer } from '../create-container.ts';
import { createOptions } from '../create-options.ts';
import { ApiError } from '../transport/client.ts';

export default command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: createOptions,
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'images',
  // What the engine refuses is a failure like any other; what the command line says wrongly has docker's code for that.
  failure: (error) => (kindOf(error) === 'InvalidArgument' && !(error instanceof ApiError) ? 125 : 1),
  async run(context, options, [image, ...words]) {
    const { id } = await createContainer(context, options, image!, words);
    context.out(`${id}\n`);
    return 0;
  },
});
