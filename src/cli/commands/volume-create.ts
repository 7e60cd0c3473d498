import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { pairs, readLabels } from '../grammar/environment.ts';

export default command({
  usage: '[OPTIONS] [VOLUME]',
  options: {
    driver: { type: 'string', short: 'd', help: 'Specify volume driver name', default: 'local' },
    label: { type: 'list', help: 'Set metadata for a volume' },
    name: { type: 'string', help: 'Specify volume name', hidden: true },
    opt: { type: 'list', short: 'o', value: 'map', help: 'Set driver specific options' },
  },
  args: [0, 1],
  async run(context, options, [name]) {
    if (name !== undefined && options.name !== undefined)
      throw new TareError(
        'InvalidArgument',
        'conflicting options: cannot specify a volume-name through both --name and as a positional arg',
      );
    const client = await context.connect();
    const { Name } = await client.json<{ Name: string }>('POST', '/volumes/create', {
      body: {
        Name: name ?? options.name ?? '',
        Driver: options.driver,
        DriverOpts: pairs(options.opt, '--opt'),
        Labels: readLabels([], options.label),
      },
    });
    context.out(`${Name}\n`);
    return 0;
  },
});
