import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { annotationsFrom } from '../grammar/annotations.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { askSecret } from '../prompt.ts';
import { writeFileSafely } from '../stream/output-file.ts';
import { accessFrom, accessOptions } from '../transport-options.ts';

export default command({
  usage: '[OPTIONS] IMAGE',
  description:
    'IMAGE is docker://NAME for an image in a registry, else one of the local images. The signature is in the format of cosign: ' +
    "in a registry it goes beside the image, under a tag or as a referrer; a local image's is kept with it. " +
    'What is signed is the digest that the name stands for, together with the name. ' +
    'The password of an encrypted key is taken from $COSIGN_PASSWORD, or asked for.',
  options: {
    ...accessOptions,
    annotation: { type: 'list', short: 'a', value: 'key=value', help: 'Add to what is signed' },
    as: {
      type: 'string',
      help: 'How a registry keeps it: under cosign\'s "tag", or as a "referrer" (bundle)',
      default: 'tag',
      completes: ['tag', 'referrer'],
    },
    cert: { type: 'string', help: "The key's certificate, PEM", completes: 'files' },
    'cert-chain': { type: 'string', help: 'Certificates of its authorities, PEM', completes: 'files' },
    key: { type: 'string', help: 'The private key, PEM (of cosign or openssl)', completes: 'files' },
    'output-payload': { type: 'string', help: 'Write what was signed to a file', completes: 'files' },
    'output-signature': { type: 'string', help: 'Write the signature to a file', completes: 'files' },
    'tlog-upload': { type: 'bool', help: 'Record the signature in a public log (not supported)' },
    upload: { type: 'bool', help: 'Keep the signature with the image', default: true },
  },
  args: [1, 1],
  completes: 'images',
  async run(context, options, [image = '']) {
    if (options.key === undefined) throw new UsageError('--key is required');
    if (options['tlog-upload'])
      throw new TareError('Unsupported', 'signatures are not recorded in a transparency log: leave --tlog-upload away');
    const { as } = options;
    if (as !== 'tag' && as !== 'referrer') throw new UsageError(`--as ${JSON.stringify(as)}: want tag or referrer`);
    if (as === 'referrer' && options['output-signature'] !== undefined)
      throw new UsageError('a referrer has no signature apart from its bundle: use --output-payload');
    const { readFileFor, signHere } = await import('../local/signing.ts');
    const made = await signHere(context.globals, accessFrom(options, ''), image, {
      ...{ as, stores: options.upload, annotations: annotationsFrom(options.annotation) },
      key: readFileFor('key', options.key),
      keyName: `key ${options.key}`,
      // As cosign takes it.
      password: async () =>
        process.env['COSIGN_PASSWORD'] ?? (await askSecret(context, `Password for ${options.key}: `)),
      ...(options.cert === undefined ? {} : { certificate: readFileFor('cert', options.cert) }),
      ...(options['cert-chain'] === undefined ? {} : { chain: readFileFor('cert-chain', options['cert-chain']) }),
    });
    if (options['output-payload'] !== undefined) await write(options['output-payload'], made.payload);
    if (options['output-signature'] !== undefined)
      await write(options['output-signature'], Buffer.from(made.signature ?? ''));
    else if (!options.upload && options['output-payload'] === undefined)
      context.out(`${made.signature ?? made.payload.toString()}\n`);
    const where = made.stored === undefined ? '' : made.stored === 'local' ? ' (kept here)' : ` (${made.stored})`;
    context.err(`Signed ${made.reference}: ${made.digest}${where}\n`);
    return 0;
  },
});

async function write(path: string, bytes: Uint8Array): Promise<void> {
  await writeFileSafely(
    path,
    (async function* () {
      yield bytes;
    })(),
  );
}
