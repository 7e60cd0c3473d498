import { writeFileSync } from 'node:fs';
import { command } from '../command.ts';
import { oneOf } from '../grammar/one-of.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { exitCodeOf, interruption } from '../interrupt.ts';
import { CopyLines } from '../output/copy-lines.ts';
import { accessFrom, copyOptions, platformFrom, platformOptions } from '../transport-options.ts';

export default command({
  usage: '[OPTIONS] SOURCE DESTINATION',
  description:
    'SOURCE and DESTINATION are docker://REFERENCE, oci:PATH[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:REFERENCE], ' +
    'dir:PATH or local:NAME. Blobs go side by side, straight through; those that the destination has are left out. Every byte is ' +
    'compared with its digest on the way.',
  options: {
    ...copyOptions,
    ...platformOptions,
    'additional-tag': { type: 'list', help: 'One more tag for the image in a docker-archive' },
    all: { type: 'bool', short: 'a', help: 'Copy all images of an index, and the index' },
    'dest-compress': { type: 'bool', help: 'Compress layers, also where they would be kept as they are' },
    'dest-compress-format': {
      type: 'string',
      value: 'FORMAT',
      help: 'Compress layers in this format (gzip, zstd)',
      completes: ['gzip', 'zstd'],
    },
    'dest-compress-level': { type: 'int', value: 'LEVEL', help: 'How hard to compress (gzip 0-9, zstd 1-22)' },
    'dest-decompress': { type: 'bool', help: 'Decompress layers' },
    digestfile: { type: 'string', help: 'Write the digest of the result to this file', completes: 'files' },
    'foreign-layers': { type: 'bool', help: 'Copy layers that are marked as not to be distributed, too' },
    format: {
      type: 'string',
      short: 'f',
      help: 'Manifest format of the result (oci, v2s2)',
      completes: ['oci', 'v2s2'],
    },
    'multi-arch': {
      type: 'string',
      help: 'Which images of an index to copy (system, all, index-only)',
      completes: ['system', 'all', 'index-only'],
    },
    'with-referrers': {
      type: 'bool',
      help: 'Copy what refers to the image, too: signatures, attestations, bills of materials',
    },
  },
  args: [2, 2],
  failure: exitCodeOf,
  async run(context, options, [source, destination]) {
    const local = await import('../local/transports.ts');
    using lines = new CopyLines(context, options.quiet);
    using interrupt = interruption();
    const result = await local.copyHere(context.globals, {
      source: source!,
      destination: destination!,
      sourceAccess: { ...accessFrom(options, 'src-', options.authfile), allowForeign: options['foreign-layers'] },
      destinationAccess: accessFrom(options, 'dest-', options.authfile),
      additionalTags: options['additional-tag'],
      retries: options['retry-times'],
      platform: platformFrom(options),
      options: {
        instances: instancesFrom(options.all, options['multi-arch']),
        format: oneOf('format', options.format, ['oci', 'v2s2']),
        compress: options['dest-compress'],
        compression: compressionFrom(options['dest-compress-format'], options['dest-compress-level']),
        decompress: options['dest-decompress'],
        preserveDigests: options['preserve-digests'],
        removeSignatures: options['remove-signatures'],
        foreignLayers: options['foreign-layers'],
        withReferrers: options['with-referrers'],
        signal: interrupt.signal,
        onProgress: (progress) => lines.show(progress),
      },
    });
    if (options.digestfile !== undefined) writeFileSync(options.digestfile, result.descriptor.digest);
    return 0;
  },
});

function instancesFrom(all: boolean, multiArch: string | undefined): 'system' | 'all' | 'index-only' {
  const named = oneOf('multi-arch', multiArch, ['system', 'all', 'index-only']);
  if (all && named !== undefined) throw new UsageError('--all and --multi-arch exclude each other');
  return all ? 'all' : (named ?? 'system');
}

function compressionFrom(format: string | undefined, level: number | undefined) {
  const known = oneOf('dest-compress-format', format, ['gzip', 'zstd']);
  return { ...(known === undefined ? {} : { format: known }), ...(level === undefined ? {} : { level }) };
}
