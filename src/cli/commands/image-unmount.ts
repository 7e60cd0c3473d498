import { messageOf, TareError } from '../../errors/index.ts';
import { command } from '../command.ts';

export default command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  description: 'An image that was mounted several times stays until it was unmounted as often.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Unmount all mounted images' },
    force: { type: 'bool', short: 'f', help: 'Unmount however often the image was mounted' },
  },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    if (options.all && names.length > 0) throw new TareError('InvalidArgument', '--all takes no images');
    if (!options.all && names.length === 0) throw new TareError('InvalidArgument', 'name an image, or say --all');
    const { unmountImages } = await import('../local/image-mounts.ts');
    let code = 0;
    await unmountImages(context.globals, options.all ? undefined : names, options, (id, error) => {
      if (id !== undefined) {
        context.out(`${id.replace('sha256:', '')}\n`);
        return;
      }
      context.err(`tare: ${messageOf(error)}\n`);
      code = 1;
    });
    return code;
  },
});
