import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import type { AuthConfig } from '../local/credentials.ts';
import { askLine, askSecret, readSecret } from '../prompt.ts';
import { ApiError, type Client } from '../transport/client.ts';

export default command({
  usage: '[OPTIONS] [SERVER]',
  description:
    "The registry checks the credentials; then they are kept in the file that --authfile or $REGISTRY_AUTH_FILE names, else in docker's " +
    'config.json, or in the credential helper that the file has for this registry. SERVER may be a repository: its credentials then ' +
    'serve that repository and what is below it. Without SERVER it is Docker Hub.',
  options: {
    authfile: { type: 'string', help: 'File of credentials', completes: 'files' },
    password: { type: 'string', short: 'p', help: 'Password or Personal Access Token (PAT)' },
    'password-stdin': { type: 'bool', help: 'Take the Password or Personal Access Token (PAT) from stdin' },
    username: { type: 'string', short: 'u', help: 'Username' },
  },
  args: [0, 1],
  async run(context, options, [server = '']) {
    if (options['password-stdin'] && options.password !== undefined)
      throw new TareError(
        'InvalidArgument',
        'conflicting options: cannot specify both --password and --password-stdin',
      );
    if (options['password-stdin'] && !options.username)
      throw new TareError('InvalidArgument', 'the --password-stdin option requires --username to be set');
    if (options.password !== undefined)
      context.err('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
    const { addressOf, earlierLogin, keepLogin } = await import('../local/credentials.ts');
    const known = await earlierLogin(context.globals, server, options.authfile);
    const address = addressOf(server);
    const client = await context.connect();
    if (options.username === undefined && options.password === undefined && (known.password || known.identitytoken)) {
      context.err(`Authenticating with existing credentials... [Username: ${known.username ?? ''}]\n`);
      try {
        await check(client, known);
        context.out('Login Succeeded\n');
        return 0;
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        context.err('Login did not succeed with them.\n');
      }
    }
    const username =
      options.username ||
      (await askLine(context, `Username${known.username ? ` (${known.username})` : ''}: `)) ||
      known.username;
    if (!username) throw new TareError('InvalidArgument', 'username is empty');
    const password = options['password-stdin']
      ? await readSecret(process.stdin)
      : (options.password ?? (await askSecret(context, 'Password: ')));
    if (password === '') throw new TareError('InvalidArgument', 'password is empty');
    const { IdentityToken: identitytoken } = await check(client, { username, password, serveraddress: address });
    const stored = await keepLogin(
      server,
      { username, password, ...(identitytoken ? { identitytoken } : {}) },
      options.authfile,
    );
    if (stored.helper === undefined)
      context.err(
        `WARNING! Your credentials are stored unencrypted in '${stored.path}'.\nConfigure a credential helper to remove this warning.\n`,
      );
    if (stored.shadowedBy !== undefined)
      context.err(
        `WARNING! ${stored.shadowedBy} has other credentials for this registry, which are used first: remove them by 'tare logout --authfile ${stored.shadowedBy} ${server}'\n`,
      );
    context.out('Login Succeeded\n');
    return 0;
  },
});

const check = async (client: Client, auth: AuthConfig) =>
  (await client.json<{ IdentityToken?: string } | undefined>('POST', '/auth', { body: auth })) ?? {};
