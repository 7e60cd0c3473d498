import { command } from '../command.ts';
import type { ManifestView } from '../local/transports.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

export default command({
  usage: '[OPTIONS] MANIFEST',
  description: 'Prints a manifest or an index as it is in its registry.',
  options: {
    authfile: accessOptions.authfile,
    insecure: { type: 'bool', help: 'Allow communication with an insecure registry' },
    verbose: { type: 'bool', short: 'v', help: 'Output additional info including layers and platform' },
  },
  args: [1, 1],
  async run(context, options, [name]) {
    const local = await import('../local/transports.ts');
    const access = { ...accessFrom(options, '', options.authfile), ...(options.insecure ? { tlsVerify: false } : {}) };
    const view = await local.manifestHere(context.globals, name!, access, options.verbose);
    if (!options.verbose) context.out(`${JSON.stringify(documentOf(view), null, view.isIndex ? 3 : '\t')}\n`);
    else context.out(`${JSON.stringify(view.isIndex ? view.manifests.map(verbose) : verbose(view), null, '\t')}\n`);
    return 0;
  },
});

const documentOf = ({ raw }: ManifestView): unknown => JSON.parse(raw.toString('utf8'));

/** docker's ImageManifest: the document under the name of its kind, and its very bytes. */
function verbose(view: ManifestView): object {
  const isDocker = view.descriptor.mediaType === 'application/vnd.docker.distribution.manifest.v2+json';
  return {
    Ref: view.reference,
    Descriptor: view.descriptor,
    Raw: view.raw.toString('base64'),
    [isDocker ? 'SchemaV2Manifest' : 'OCIManifest']: documentOf(view),
  };
}
