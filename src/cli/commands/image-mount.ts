import type { ImageMount } from '../../engine/index.ts';
import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { table } from '../output/table.ts';
import { shortId } from '../output/text.ts';
import { goJson } from '../template/text.ts';

export default command({
  usage: '[OPTIONS] [IMAGE...]',
  description:
    "Shows each image's tree at the path printed, read-only, until it is unmounted or the machine is started anew. Without an image, lists what is mounted.",
  options: {
    all: { type: 'bool', short: 'a', help: 'Mount all images' },
    format: { type: 'string', help: 'Print the mounted images in this format (json)', completes: ['json'] },
  },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, options, names) {
    if (options.format !== undefined && options.format !== 'json') {
      throw new TareError('InvalidArgument', `unknown format ${JSON.stringify(options.format)}: want json`);
    }
    if (options.all && names.length > 0) throw new TareError('InvalidArgument', '--all takes no images');
    const local = await import('../local/image-mounts.ts');
    const refs = options.all ? await local.listImageIDs(context.globals) : names;
    const print = options.format === 'json' ? jsonList : tableOf;
    if (refs.length === 0) {
      context.out(options.all ? '' : print(await local.listImageMounts(context.globals)));
      return 0;
    }
    const mounted: ImageMount[] = [];
    await local.mountImages(context.globals, refs, (mount) => mounted.push(mount));
    const [only] = mounted;
    if (options.format === 'json') context.out(jsonList(mounted));
    else if (mounted.length === 1 && only !== undefined) context.out(`${only.path}\n`);
    else context.out(tableOf(mounted));
    return 0;
  },
});

/** As podman has it: no headings. */
const tableOf = (mounts: readonly ImageMount[]): string =>
  table(mounts.map(({ id, repoTags, path }) => [repoTags[0] ?? shortId(id), path]));

const jsonList = (mounts: readonly ImageMount[]): string =>
  `${goJson(mounts.map(({ id, repoTags, path }) => ({ id: id.replace('sha256:', ''), Repositories: repoTags, mountpoint: path })))}\n`;
