import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { createContainer } from '../create-container.ts';
import { createOptions } from '../create-options.ts';
import { Detached } from '../session.ts';
import { runFailure, startInForeground } from '../start-container.ts';

export default command({
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  description:
    'Makes a container and starts it. In the foreground its output is shown, signals are passed on, and the exit code is the ' +
    "program's; 125 says that the engine could not run it, 126 that the command cannot be executed, 127 that it is not there.",
  options: {
    ...createOptions,
    detach: { type: 'bool', short: 'd', help: 'Run container in background and print container ID' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    'sig-proxy': { type: 'bool', help: 'Proxy received signals to the process', default: true },
  },
  args: [1, Number.POSITIVE_INFINITY],
  interspersed: false,
  completes: 'images',
  failure: runFailure,
  async run(context, options, [image, ...words]) {
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
