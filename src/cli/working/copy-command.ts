import { command } from '../command.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { exitCodeOf, interruption } from '../interrupt.ts';
import type { Options } from '../option.ts';

const copyFlags = {
  'add-history': { type: 'bool', help: 'Add an entry to the history' },
  chmod: { type: 'string', help: 'Permissions of what is copied, octal or as chmod takes them' },
  chown: { type: 'string', help: 'Owner of what is copied (user[:group], by number or name)' },
  contextdir: { type: 'string', help: 'Folder that sources are beneath', completes: 'directories' },
  exclude: { type: 'list', help: 'Pattern of what beneath a source is left out' },
  from: { type: 'string', help: 'Image or working container to copy from', completes: 'images' },
  ignorefile: {
    type: 'string',
    help: 'File with patterns of what of the context folder is left out',
    completes: 'files',
  },
  quiet: { type: 'bool', short: 'q', help: 'Print nothing but errors, as it does anyway' },
} as const satisfies Options;

const addFlags = {
  ...copyFlags,
  checksum: { type: 'string', help: 'Checksum of the file at an address (sha256:…), or commit of a repository' },
} as const satisfies Options;

const descriptions = {
  copy: 'Copies files into a working container, as COPY does. Without DEST they come into its working folder.',
  add: 'Copies files into a working container, fetches them from addresses and git repositories, and unpacks archives, as ADD does. Without DEST they come into its working folder.',
};

/** `tare copy` and `tare add`. */
export const copyCommand = (verb: 'copy' | 'add') =>
  command({
    usage: '[OPTIONS] CONTAINER SRC [SRC...] [DEST]',
    description: descriptions[verb],
    options: (verb === 'add' ? addFlags : copyFlags) as typeof addFlags,
    args: [2, Number.POSITIVE_INFINITY],
    completes: 'files',
    failure: exitCodeOf,
    async run(context, flags, [name, ...paths]) {
      if (flags.ignorefile !== undefined && flags.contextdir === undefined)
        throw new UsageError('--ignorefile is for a context folder: name that with --contextdir');
      const destination = paths.length === 1 ? '.' : paths.pop()!;
      const { withWorking } = await import('../local/working.ts');
      using interrupted = interruption();
      await withWorking(context.globals, name!, async (container) => {
        const work = verb === 'add' ? container.add.bind(container) : container.copy.bind(container);
        await work(paths, destination, {
          ...given('from', flags.from),
          ...given('chown', flags.chown),
          ...given('chmod', flags.chmod),
          ...given('contextFolder', flags.contextdir),
          ...given('ignoreFile', flags.ignorefile),
          ...given('checksum', flags.checksum),
          exclude: flags.exclude,
          addsHistory: flags['add-history'],
          signal: interrupted.signal,
        });
      });
      return 0;
    },
  });

const given = <K extends string>(key: K, value: string | undefined) =>
  (value === undefined ? {} : { [key]: value }) as Partial<Record<K, string>>;
