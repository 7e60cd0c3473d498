import { TareError } from '../../errors/index.ts';
import { type Context, command } from '../command.ts';
import { segment } from '../each.ts';
import { inspectFormatOption } from '../format-option.ts';
import { inspectObjects } from '../inspect-objects.ts';
import type { Values } from '../option.ts';
import { execute } from '../template/execute.ts';
import { parseTemplate } from '../template/parse.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

const options = {
  ...accessOptions,
  config: { type: 'bool', help: 'Print the configuration of an image that is elsewhere' },
  format: inspectFormatOption,
  'no-tags': { type: 'bool', short: 'n', help: "Do not list the tags of an image's repository" },
  platform: { type: 'string', help: 'Inspect a specific platform of the multi-platform image' },
  raw: {
    type: 'bool',
    help: 'Print the manifest of an image that is elsewhere, or with --config its configuration, as it is',
  },
} as const;

export default command({
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  description:
    'An image of this engine by its name, or an image elsewhere by its transport, as in `image copy`: docker://REFERENCE, oci:PATH, ' +
    'docker-archive:FILE and so on. Of those, layers are not fetched.',
  options,
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'images',
  async run(context, values, names) {
    const isElsewhere = values.raw || values.config || names.some(isTransport);
    if (!isElsewhere) return await inspectImages(context, values, names);
    const [name, ...others] = names;
    if (others.length > 0) {
      throw new TareError('InvalidArgument', 'an image elsewhere is inspected by itself: name one');
    }
    const local = await import('../local/transports.ts');
    const access = accessFrom(values, '', values.authfile);
    const text = await local.withRetries(values['retry-times'], () =>
      local.inspectHere(context.globals, name!, access, values.platform, async (image) => {
        if (values.raw) return (values.config ? await image.config() : image.raw).toString('utf8');
        const shown = values.config
          ? (JSON.parse((await image.config()).toString('utf8')) as unknown)
          : await image.summary(!values['no-tags']);
        if (values.format === undefined || values.format === '') return `${JSON.stringify(shown, null, 4)}\n`;
        return values.format === 'json'
          ? `${JSON.stringify(shown)}\n`
          : `${execute(parseTemplate(values.format), shown)}\n`;
      }),
    );
    context.out(text);
    return 0;
  },
});

/**
 * Whether a word names a transport. `dir:1` could also be an image with a tag, and then it is one: a path has a slash.
 */
const isTransport = (name: string): boolean =>
  name.startsWith('docker://') ||
  /^(oci-archive|docker-archive|containers-storage):./.test(name) ||
  /^(local|tare):[^:]+[:/]/.test(name) ||
  /^(oci|dir):[^:]*[/]/.test(name);

async function inspectImages(context: Context, values: Values<typeof options>, names: string[]): Promise<number> {
  const client = await context.connect();
  return await inspectObjects(context, names, values.format, (name) =>
    client.json('GET', `/images/${segment(name)}/json`, { query: { platform: values.platform } }),
  );
}
