import type { WorkingContainerView } from '../../engine/index.ts';
import { command } from '../command.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { exitCodeOf, interruption } from '../interrupt.ts';
import { formatList } from '../output/listing.ts';
import { shortId } from '../output/text.ts';
import { ago } from '../output/units.ts';

const pulls = ['always', 'missing', 'never'] as const;

export default command({
  usage: '[OPTIONS] IMAGE | scratch | --list',
  description:
    'Makes a working container: the files of an image, or none, to be changed by copy, add, run and mount, with a config to be changed by config, until commit makes an image of it. ONBUILD instructions of the image are done first, with files of --contextdir alone. It prints the name of it. Works in this process, on the engine of this machine.',
  options: {
    contextdir: {
      type: 'string',
      help: 'Folder of what ONBUILD instructions of the image copy',
      completes: 'directories',
    },
    format: { type: 'string', help: 'Format the list using a Go template, or json' },
    json: { type: 'bool', help: 'List working containers with their configs as one JSON document' },
    list: { type: 'bool', help: 'List working containers instead of making one' },
    name: { type: 'string', help: 'Name of the working container' },
    platform: { type: 'string', value: 'os[/arch[/variant]]', help: 'Platform of the image' },
    pull: {
      type: 'string',
      help: 'When to ask the registry (always, missing, never)',
      default: 'missing',
      completes: [...pulls],
    },
    quiet: { type: 'bool', short: 'q', help: 'List names alone' },
  },
  args: [0, 1],
  completes: 'images',
  failure: exitCodeOf,
  async run(context, options, [image]) {
    const { withBuilds } = await import('../local/working.ts');
    if (options.list || options.json) {
      if (image !== undefined) throw new UsageError('--list takes no image');
      const all = await withBuilds(context.globals, (builds) => builds.workingContainers());
      context.out(options.json ? `${JSON.stringify(all, null, 2)}\n` : listOf(all, options));
      return 0;
    }
    if (image === undefined) throw new UsageError('name an image, or scratch for none');
    if (/^((oci|docker)-archive:|(oci|dir):[./])/.test(image))
      throw new UsageError(`${image} is none of this engine's images: tare image copy brings it to local:NAME first`);
    const pull = pulls.find((one) => one === options.pull);
    if (pull === undefined)
      throw new UsageError(`invalid value ${JSON.stringify(options.pull)} for --pull: one of ${pulls.join(', ')}`);
    using interrupted = interruption();
    const { PlainDisplay } = await import('../build/plain-display.ts');
    const display = new PlainDisplay(context.err);
    const name = await withBuilds(context.globals, async (builds) => {
      const container = await builds.from(image.replace(/^docker:\/\//, ''), {
        ...(options.name === undefined ? {} : { name: options.name }),
        ...(options.platform === undefined ? {} : { platform: options.platform }),
        ...(options.contextdir === undefined ? {} : { contextFolder: options.contextdir }),
        ...{ pull, signal: interrupted.signal, progress: (progress) => display.show(progress) },
      });
      return container.name;
    });
    context.out(`${name}\n`);
    return 0;
  },
});

const listing = {
  headings: {
    ID: 'CONTAINER ID',
    Name: 'NAME',
    Image: 'IMAGE',
    ImageID: 'IMAGE ID',
    CreatedSince: 'CREATED',
    Mountpoint: 'MOUNTPOINT',
  },
  columns: ['ID', 'Name', 'Image', 'CreatedSince', 'Mountpoint'],
  quiet: 'Name',
};

function listOf(all: readonly WorkingContainerView[], options: { format: string | undefined; quiet: boolean }): string {
  const rows = all.map(({ id, name, base, createdMs, mountPath = '' }) => ({
    ID: id.slice(0, 12),
    Name: name,
    Image: base?.ref ?? 'scratch',
    ImageID: base === undefined ? '' : shortId(base.imageID),
    CreatedSince: ago(createdMs),
    Mountpoint: mountPath,
  }));
  const { format, quiet } = options;
  return formatList(listing, rows, { ...(format === undefined ? {} : { format }), quiet });
}
