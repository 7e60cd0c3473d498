import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { askSecret } from '../prompt.ts';

export default command({
  usage: '[OPTIONS]',
  description:
    'The pair is as cosign makes it: ECDSA on P-256, the private key encrypted. The password is taken from $COSIGN_PASSWORD, or ' +
    'asked for. Files that are there already are left alone.',
  options: {
    'output-key-prefix': {
      type: 'string',
      help: 'Name of the files, to which .key and .pub are added',
      default: 'cosign',
    },
  },
  args: [0, 0],
  async run(context, options) {
    const password = process.env['COSIGN_PASSWORD'] ?? (await askTwice((question) => askSecret(context, question)));
    const { writeKeyPair } = await import('../local/signing.ts');
    const { key, pub } = await writeKeyPair(options['output-key-prefix'], password);
    context.err(`Private key written to ${key}\nPublic key written to ${pub}\n`);
    return 0;
  },
});

async function askTwice(ask: (question: string) => Promise<string>): Promise<string> {
  const password = await ask('Password for the private key: ');
  if ((await ask('The same again: ')) === password) return password;
  throw new TareError('InvalidArgument', 'the two passwords differ');
}
