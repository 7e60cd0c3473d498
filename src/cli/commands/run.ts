import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { createContainer } from '../create-container.ts';
import { createOptions } from '../create-options.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { Detached } from '../session.ts';
import { runFailure, startInForeground } from '../start-container.ts';

export default command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...] | --in CONTAINER COMMAND [ARG...]',
  description:
    'Makes a container and starts it. In the foreground its output is shown, signals are passed on, and the exit code is the ' +
    "program's; 125 says that the engine could not run it, 126 that the command cannot be executed, 127 that it is not there. " +
    'With --in the command runs in a working container (tare from), as the RUN of a build does, and its changes stay there.',
  options: {
    ...createOptions,
    'add-history': { type: 'bool', help: 'With --in: add an entry to the history' },
    detach: { type: 'bool', short: 'd', help: 'Run container in background and print container ID' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    in: {
      type: 'string',
      value: 'container',
      help: 'Run in a working container, not in one made of an image',
      completes: 'working-containers',
    },
    secret: { type: 'list', help: 'With --in: secret for --mount type=secret (id=NAME[,src=FILE|,env=VARIABLE])' },
    ssh: { type: 'list', help: 'With --in: agent for --mount type=ssh (default|ID[=SOCKET])' },
    'sig-proxy': { type: 'bool', help: 'Proxy received signals to the process', default: true },
  },
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'images',
  failure: runFailure,
  async run(context, options, [image, ...words]) {
    if (options.in !== undefined) {
      const { runIn } = await import('../working/run-in.ts');
      return await runIn(context, options.in, options, [image!, ...words]);
    }
    refuseWithoutIn(options);
    if (options.detach && options.attach.length > 0)
      throw new TareError('InvalidArgument', 'conflicting options: cannot specify both --attach and --detach');
    if (!options.detach && options.interactive && options.tty && !process.stdin.isTTY)
      throw new TareError(
        'InvalidArgument',
        'cannot attach stdin to a TTY-enabled container because stdin is not a terminal',
      );
    const { client, id, body } = await createContainer(context, options, image!, words);
    if (options.detach) {
      await client.json('POST', `/containers/${id}/start`);
      context.out(`${id}\n`);
      return 0;
    }
    try {
      return await startInForeground(client, id, {
        tty: options.tty,
        stdin: body.AttachStdin && options.interactive,
        stdout: body.AttachStdout,
        stderr: body.AttachStderr,
        detachKeys: options['detach-keys'] ?? '',
        sigProxy: options['sig-proxy'],
        autoRemove: options.rm,
      });
    } catch (error) {
      if (error instanceof Detached) return 0;
      throw error;
    }
  },
});

function refuseWithoutIn(options: { secret: string[]; ssh: string[]; 'add-history': boolean }): void {
  const given = options.secret.length > 0 ? 'secret' : options.ssh.length > 0 ? 'ssh' : 'add-history';
  if (given !== 'add-history' || options['add-history'])
    throw new UsageError(`--${given} is for a working container: name one with --in`);
}
