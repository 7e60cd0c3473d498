import { command } from '../command.ts';
import { segment } from '../each.ts';
import { pairs } from '../grammar/environment.ts';
import { splitFields } from '../grammar/fields.ts';

export default command({
  usage: '[OPTIONS] NETWORK CONTAINER',
  options: {
    alias: { type: 'list', value: 'strings', help: 'Add network-scoped alias for the container' },
    'driver-opt': { type: 'list', value: 'strings', help: 'driver options for the network' },
    'gw-priority': {
      type: 'int',
      help: 'Highest gw-priority provides the default gateway. Accepts positive and negative values.',
      default: 0,
    },
    ip: { type: 'string', help: 'IPv4 address (e.g., "172.30.100.104")' },
    ip6: { type: 'string', help: 'IPv6 address (e.g., "2001:db8::33")' },
    link: { type: 'list', help: 'Add link to another container', completes: 'containers' },
    'link-local-ip': { type: 'list', value: 'strings', help: 'Add a link-local address for the container' },
  },
  args: [2, 2],
  completes: 'networks',
  async run(context, options, [network, container]) {
    const client = await context.connect();
    // As docker's client reads them: one option may hold several, separated by commas.
    const several = (texts: readonly string[]) => texts.flatMap(splitFields);
    await client.json('POST', `/networks/${segment(network!)}/connect`, {
      body: {
        Container: container,
        EndpointConfig: {
          IPAMConfig: {
            IPv4Address: options.ip ?? '',
            IPv6Address: options.ip6 ?? '',
            LinkLocalIPs: several(options['link-local-ip']),
          },
          Links: options.link,
          Aliases: several(options.alias),
          DriverOpts: pairs(several(options['driver-opt']), '--driver-opt'),
          GwPriority: options['gw-priority'],
        },
      },
    });
    return 0;
  },
});
