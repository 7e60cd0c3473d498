import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { readEnvironment } from '../grammar/environment.ts';
import { Detached, followSize, pump } from '../session.ts';

export default command({
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  options: {
    detach: { type: 'bool', short: 'd', help: 'Detached mode: run command in the background' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    env: { type: 'list', short: 'e', help: 'Set environment variables' },
    'env-file': { type: 'list', help: 'Read in a file of environment variables', completes: 'files' },
    interactive: { type: 'bool', short: 'i', help: 'Keep STDIN open even if not attached' },
    privileged: { type: 'bool', help: 'Give extended privileges to the command' },
    tty: { type: 'bool', short: 't', help: 'Allocate a pseudo-TTY' },
    user: { type: 'string', short: 'u', help: 'Username or UID (format: <name|uid>[:<group|gid>])' },
    workdir: { type: 'string', short: 'w', help: 'Working directory inside the container' },
  },
  args: [2, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'running-containers',
  async run(context, options, [name, ...words]) {
    const attached = !options.detach;
    if (attached && options.interactive && options.tty && !process.stdin.isTTY)
      throw new TareError(
        'InvalidArgument',
        'cannot attach stdin to a TTY-enabled container because stdin is not a terminal',
      );
    const size = options.tty && process.stdout.isTTY ? [process.stdout.rows, process.stdout.columns] : undefined;
    const client = await context.connect();
    const { Id } = await client.json<{ Id: string }>('POST', `/containers/${segment(name!)}/exec`, {
      body: {
        User: options.user ?? '',
        Privileged: options.privileged,
        Tty: options.tty,
        AttachStdin: attached && options.interactive,
        AttachStdout: attached,
        AttachStderr: attached,
        DetachKeys: options['detach-keys'] ?? '',
        Env: readEnvironment(options['env-file'], options.env),
        WorkingDir: options.workdir ?? '',
        Cmd: words,
        ...(size ? { ConsoleSize: size } : {}),
      },
    });
    if (options.detach) {
      await client.json('POST', `/exec/${Id}/start`, { body: { Detach: true, Tty: options.tty } });
      return 0;
    }
    const connection = await client.upgrade(`/exec/${Id}/start`, {
      body: { Detach: false, Tty: options.tty, ...(size ? { ConsoleSize: size } : {}) },
    });
    using session = new DisposableStack();
    if (options.tty && size) session.use(followSize(client, 'exec', Id));
    try {
      await pump(connection, {
        tty: options.tty,
        stdin: options.interactive,
        stdout: true,
        stderr: true,
        detachKeys: options['detach-keys'] ?? '',
      });
    } catch (error) {
      if (error instanceof Detached) return 0;
      throw error;
    }
    const { ExitCode } = await client.json<{ ExitCode: number | null }>('GET', `/exec/${Id}/json`);
    return ExitCode ?? 0;
  },
});
