import { isIP } from 'node:net';
import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { readEgress } from '../grammar/egress.ts';
import { pairs, readLabels } from '../grammar/environment.ts';
import { poolsOf } from '../grammar/subnets.ts';

export default command({
  usage: '[OPTIONS] NETWORK',
  options: {
    attachable: { type: 'bool', help: 'Enable manual container attachment' },
    'aux-address': { type: 'list', value: 'map', help: 'Auxiliary IPv4 or IPv6 addresses used by Network driver' },
    'config-from': {
      type: 'string',
      value: 'network',
      help: 'The network from which to copy the configuration',
      completes: 'networks',
    },
    'config-only': { type: 'bool', help: 'Create a configuration only network' },
    driver: { type: 'string', short: 'd', help: 'Driver to manage the Network', default: 'bridge' },
    egress: {
      type: 'list',
      value: 'rule',
      help: 'What its containers may reach (allow=example.com:443, deny=10.0.0.0/8, default=deny, file=PATH)',
    },
    gateway: { type: 'list', value: 'strings', help: 'IPv4 or IPv6 Gateway for the master subnet' },
    ingress: { type: 'bool', help: 'Create swarm routing-mesh network', hidden: true },
    internal: { type: 'bool', help: 'Restrict external access to the network' },
    'ip-range': { type: 'list', value: 'strings', help: 'Allocate container ip from a sub-range' },
    'ipam-driver': { type: 'string', help: 'IP Address Management Driver', default: 'default' },
    'ipam-opt': { type: 'list', value: 'map', help: 'Set IPAM driver specific options' },
    ipv4: { type: 'bool', help: 'Enable or disable IPv4 address assignment', default: true },
    ipv6: { type: 'bool', help: 'Enable or disable IPv6 address assignment' },
    label: { type: 'list', help: 'Set metadata on a network' },
    opt: { type: 'list', short: 'o', value: 'map', help: 'Set driver specific options' },
    scope: { type: 'string', help: "Control the network's scope", completes: ['local'] },
    subnet: { type: 'list', value: 'strings', help: 'Subnet in CIDR format that represents a network segment' },
  },
  args: [1, 1],
  async run(context, options, [name]) {
    const commas = (list: readonly string[]) => list.flatMap((text) => text.split(','));
    for (const gateway of commas(options.gateway))
      if (!isIP(gateway))
        throw new TareError('InvalidArgument', `invalid gateway ${JSON.stringify(gateway)}: expected an IP address`);
    const client = await context.connect();
    const { Id, Warning } = await client.json<{ Id: string; Warning?: string }>('POST', '/networks/create', {
      body: {
        Name: name,
        Driver: options.driver,
        ConfigOnly: options['config-only'],
        ...(options['config-from'] === undefined ? {} : { ConfigFrom: { Network: options['config-from'] } }),
        Attachable: options.attachable,
        Internal: options.internal,
        Ingress: options.ingress,
        Scope: options.scope ?? '',
        ...(options.ipv4 ? {} : { EnableIPv4: false }),
        ...(options.ipv6 ? { EnableIPv6: true } : {}),
        Options: pairs(options.opt, '--opt'),
        Labels: readLabels([], options.label),
        Egress: readEgress(options.egress),
        IPAM: {
          Driver: options['ipam-driver'],
          Options: pairs(options['ipam-opt'], '--ipam-opt'),
          Config: poolsOf({
            subnets: commas(options.subnet),
            gateways: commas(options.gateway),
            ranges: commas(options['ip-range']),
            auxiliary: pairs(options['aux-address'], '--aux-address'),
          }),
        },
      },
    });
    if (Warning) context.err(`WARNING: ${Warning}\n`);
    context.out(`${Id}\n`);
    return 0;
  },
});
