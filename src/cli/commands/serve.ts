import { command } from '../command.ts';
import { engineOptions, mergeEngineValues } from '../engine-options.ts';
import { tlsOptions } from '../tls-options.ts';

export default command({
  usage: '[OPTIONS]',
  description:
    'Containers do not depend on it: it may be stopped and started again while they run. It listens on tare.sock in the runtime folder ' +
    'unless told otherwise.',
  options: {
    ...engineOptions,
    ...tlsOptions,
    group: { type: 'string', help: 'Group of the unix socket, by name or number' },
    host: {
      type: 'list',
      short: 'H',
      help: 'Where to listen (unix://PATH, tcp://ADDRESS:PORT, fd:// for a systemd socket)',
    },
    'audit-log': { type: 'string', help: 'Write who asked for what to the file, as lines of JSON', completes: 'files' },
    'insecure-tcp': {
      type: 'list',
      value: 'address',
      help: 'Once more a tcp:// address of -H, to listen there for whoever comes, without --tlsverify',
    },
    'buildkit-socket': {
      type: 'string',
      help: "Speak BuildKit's protocol there too (default EXEC-ROOT/buildkitd.sock)",
    },
    'metrics-addr': { type: 'string', help: "Answer Prometheus' GET /metrics there (ADDRESS:PORT)" },
    validate: { type: 'bool', help: 'Check the configuration, and quit' },
    pidfile: { type: 'string', short: 'p', help: 'Write the process id to the file', completes: 'files' },
    'socket-mode': { type: 'string', help: 'Mode of the unix socket, 0660 unless given' },
  },
  args: [0, 0],
  async run(context, options) {
    const { serveUntilTold } = await import('../local.ts');
    const { globals } = context;
    await serveUntilTold(
      {
        ...options,
        ...mergeEngineValues(globals, options),
        host: [...globals.host, ...options.host],
        tls: options.tls || globals.tls,
        tlsverify: options.tlsverify || globals.tlsverify,
        tlscacert: options.tlscacert ?? globals.tlscacert,
        tlscert: options.tlscert ?? globals.tlscert,
        tlskey: options.tlskey ?? globals.tlskey,
      },
      (line) => context.out(`${line}\n`),
    );
    return 0;
  },
});
