import { messageOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { oneOf } from '../grammar/one-of.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { exitCodeOf, interruption } from '../interrupt.ts';
import { CopyLines } from '../output/copy-lines.ts';
import { accessFrom, copyOptions } from '../transport-options.ts';

export default command({
  usage: '--src TRANSPORT --dest TRANSPORT [OPTIONS] SOURCE DESTINATION',
  description:
    'With --src docker, SOURCE is a repository, whose tags are all copied, or one image. With --src dir, it is a folder whose folders ' +
    'hold images as dir: makes them. With --src yaml, it is a file that lists registries, repositories and tags, as of skopeo sync. ' +
    'DESTINATION is a registry with a path for --dest docker, a folder for --dest dir.',
  options: {
    ...copyOptions,
    all: { type: 'bool', short: 'a', help: 'Copy all images of indexes, and the indexes' },
    'append-suffix': { type: 'string', help: 'Append this to the names at DESTINATION' },
    dest: { type: 'string', short: 'd', help: 'Transport of DESTINATION (docker, dir)', completes: ['docker', 'dir'] },
    'dry-run': { type: 'bool', help: 'Say what would be copied' },
    format: {
      type: 'string',
      short: 'f',
      help: 'Manifest format at DESTINATION (oci, v2s2)',
      completes: ['oci', 'v2s2'],
    },
    'keep-going': { type: 'bool', help: 'Go on when an image cannot be copied' },
    scoped: { type: 'bool', help: "Put images below their source's whole name at DESTINATION" },
    src: {
      type: 'string',
      short: 's',
      help: 'Transport of SOURCE (docker, dir, yaml)',
      completes: ['docker', 'dir', 'yaml'],
    },
  },
  args: [2, 2],
  failure: exitCodeOf,
  async run(context, options, [source, destination]) {
    const from = oneOf('src', options.src, ['docker', 'dir', 'yaml']);
    const to = oneOf('dest', options.dest, ['docker', 'dir']);
    if (from === undefined || to === undefined) throw new UsageError('--src and --dest must both be given');
    const local = await import('../local/transports.ts');
    using lines = new CopyLines(context, options.quiet);
    using interrupt = interruption();
    const verb = options['dry-run'] ? 'Would copy' : 'Copying';
    const { copied, failed } = await local.syncHere(context.globals, {
      ...{ from, to, source: source!, destination: destination!, scoped: options.scoped },
      ...(options['append-suffix'] === undefined ? {} : { appendSuffix: options['append-suffix'] }),
      sourceAccess: accessFrom(options, 'src-', options.authfile),
      destinationAccess: accessFrom(options, 'dest-', options.authfile),
      isDryRun: options['dry-run'],
      keepsGoing: options['keep-going'],
      retries: options['retry-times'],
      options: {
        instances: options.all ? 'all' : 'system',
        format: oneOf('format', options.format, ['oci', 'v2s2']),
        preserveDigests: options['preserve-digests'],
        removeSignatures: options['remove-signatures'],
        signal: interrupt.signal,
        onProgress: (progress) => lines.show(progress),
      },
      onStep: (step, position, count) =>
        lines.say(`${verb} image ${position}/${count} from ${step.source} to ${step.destination}`),
      onCopied: () => {},
      onProblem: (error) => context.err(`tare: ${messageOf(error)}\n`),
    });
    if (!options['dry-run']) lines.say(`Synced ${copied} images${failed > 0 ? `, ${failed} could not be copied` : ''}`);
    return failed > 0 ? 1 : 0;
  },
});
