import { command } from '../command.ts';
import { engineOptions, mergeEngineValues } from '../engine-options.ts';

export default command({
  usage: '[OPTIONS]',
  description:
    'Containers do not depend on it: it may be stopped and started again while they run. It listens on tare.sock in the runtime folder ' +
    'unless told otherwise.',
  options: {
    ...engineOptions,
    group: { type: 'string', help: 'Group of the unix socket, by name or number' },
    host: {
      type: 'list',
      short: 'H',
      help: 'Where to listen (unix://PATH, tcp://ADDRESS:PORT, fd:// for a systemd socket)',
    },
    'insecure-tcp': { type: 'bool', help: 'Listen on TCP without any check of who calls' },
    pidfile: { type: 'string', short: 'p', help: 'Write the process id to the file', completes: 'files' },
  },
  args: [0, 0],
  async run(context, options) {
    const { serveUntilTold } = await import('../local.ts');
    const { group, pidfile } = options;
    const host = [...context.globals.host, ...options.host];
    await serveUntilTold(
      { ...mergeEngineValues(context.globals, options), host, group, pidfile, 'insecure-tcp': options['insecure-tcp'] },
      (line) => context.out(`${line}\n`),
    );
    return 0;
  },
});
