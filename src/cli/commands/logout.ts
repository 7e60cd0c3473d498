import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';

export default command({
  usage: '[OPTIONS] [SERVER]',
  description:
    'Takes credentials out of every file in which they would be found, and out of credential helpers. Without SERVER it is Docker Hub.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove the credentials of all registries' },
    authfile: { type: 'string', help: 'File of credentials', completes: 'files' },
  },
  args: [0, 1],
  async run(context, options, [server = '']) {
    const { forgetLogin, forgetLogins } = await import('../local/credentials.ts');
    if (options.all) {
      if (server !== '') throw new TareError('InvalidArgument', '--all and a registry cannot both be given');
      const files = await forgetLogins(options.authfile);
      context.out(files.length === 0 ? 'Not logged in to any registry\n' : `Removing all login credentials\n`);
      return 0;
    }
    const name = server === '' ? 'https://index.docker.io/v1/' : server;
    const files = await forgetLogin(server, options.authfile);
    context.out(files.length === 0 ? `Not logged in to ${name}\n` : `Removing login credentials for ${name}\n`);
    return 0;
  },
});
