import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { followSize, proxySignals, pump } from '../session.ts';
import { textOf } from '../transport/client.ts';

export default command({
  usage: '[OPTIONS] CONTAINER',
  options: {
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    'no-stdin': { type: 'bool', help: 'Do not attach STDIN' },
    'sig-proxy': { type: 'bool', help: 'Proxy all received signals to the process', default: true },
  },
  args: [1, 1],
  completes: 'running-containers',
  async run(context, options, [name]) {
    const client = await context.connect();
    const container = await client.json<{
      Id: string;
      State: { Running: boolean; Paused: boolean; Restarting: boolean };
      Config: { Tty: boolean; OpenStdin: boolean };
    }>('GET', `/containers/${segment(name!)}/json`);
    const { State, Config, Id } = container;
    if (!State.Running) throw new TareError('Conflict', 'cannot attach to a stopped container, start it first');
    if (State.Paused) throw new TareError('Conflict', 'cannot attach to a paused container, unpause it first');
    if (State.Restarting)
      throw new TareError('Conflict', 'cannot attach to a restarting container, wait until it is running');
    const stdin = Config.OpenStdin && !options['no-stdin'];
    if (Config.Tty && stdin && !process.stdin.isTTY)
      throw new TareError(
        'InvalidArgument',
        'cannot attach stdin to a TTY-enabled container because stdin is not a terminal',
      );
    using session = new DisposableStack();
    if (options['sig-proxy'] && !Config.Tty) session.use(proxySignals(client, Id));
    const ending = await client.stream('POST', `/containers/${Id}/wait`);
    const connection = await client.upgrade(`/containers/${Id}/attach`, {
      query: { stream: true, stdin, stdout: true, stderr: true, detachKeys: options['detach-keys'] },
    });
    if (Config.Tty && process.stdout.isTTY) session.use(followSize(client, 'containers', Id));
    await pump(connection, {
      tty: Config.Tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys: options['detach-keys'] ?? '',
    });
    const { StatusCode, Error: problem } = JSON.parse(await textOf(ending.body)) as {
      StatusCode: number;
      Error?: { Message: string };
    };
    if (problem?.Message) throw new TareError('Internal', problem.Message);
    return StatusCode;
  },
});
