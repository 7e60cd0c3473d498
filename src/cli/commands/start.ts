import { resolve } from 'node:path';
import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { forEach, segment } from '../each.ts';
import { startInForeground } from '../start-container.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    attach: { type: 'bool', short: 'a', help: 'Attach STDOUT/STDERR and forward signals' },
    checkpoint: { type: 'string', help: 'Restore from this checkpoint' },
    'checkpoint-dir': { type: 'string', help: 'Use a custom checkpoint storage directory', completes: 'directories' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    interactive: { type: 'bool', short: 'i', help: "Attach container's STDIN" },
    'sig-proxy': { type: 'bool', help: 'Proxy received signals to the process', default: true, hidden: true },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, names) {
    const client = await context.connect();
    const { checkpoint, 'checkpoint-dir': checkpointDir } = options;
    if (checkpoint !== undefined && names.length > 1)
      throw new TareError('InvalidArgument', 'you cannot restore multiple containers at once');
    const from = { checkpoint, 'checkpoint-dir': checkpointDir && resolve(checkpointDir) };
    if (!options.attach && !options.interactive)
      return await forEach(context, names, async (name) => {
        await client.json('POST', `/containers/${segment(name)}/start`, { query: from });
        return name;
      });
    if (names.length > 1)
      throw new TareError('InvalidArgument', 'you cannot start and attach multiple containers at once');
    const container = await client.json<{
      Id: string;
      State: { Running: boolean };
      Config: { Tty: boolean; OpenStdin: boolean };
      HostConfig: { AutoRemove: boolean };
    }>('GET', `/containers/${segment(names[0]!)}/json`);
    if (container.State.Running)
      throw new TareError('Conflict', `container ${names[0]} is running already: use 'tare attach'`);
    return await startInForeground(client, container.Id, {
      tty: container.Config.Tty,
      stdin: options.interactive && container.Config.OpenStdin,
      stdout: true,
      stderr: true,
      detachKeys: options['detach-keys'] ?? '',
      sigProxy: options['sig-proxy'],
      autoRemove: container.HostConfig.AutoRemove,
      from,
    });
  },
});
