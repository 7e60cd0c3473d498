import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { hostPort } from '../output/ports.ts';

export default command({
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  options: {},
  args: [1, 2],
  completes: 'containers',
  async run(context, _options, [name, wanted]) {
    const client = await context.connect();
    const container = await client.json<{
      NetworkSettings: { Ports: Record<string, { HostIp: string; HostPort: string }[] | null> | null };
    }>('GET', `/containers/${segment(name!)}/json`);
    const ports = container.NetworkSettings.Ports ?? {};
    if (wanted !== undefined) {
      const [number = '', protocol = 'tcp', ...more] = wanted.split('/');
      if (!/^\d{1,5}$/.test(number) || Number(number) > 65535 || more.length > 0)
        throw new TareError('InvalidArgument', `invalid port ${JSON.stringify(wanted)}: expected PORT[/tcp|udp|sctp]`);
      const bindings = ports[`${Number(number)}/${protocol}`];
      if (!bindings?.length) throw new TareError('NotFound', `no public port '${wanted}' published for ${name}`);
      for (const { HostIp, HostPort } of bindings) context.out(`${hostPort(HostIp, HostPort)}\n`);
      return 0;
    }
    const order = (port: string) => Number(port.split('/')[0]);
    for (const port of Object.keys(ports).sort((a, b) => order(a) - order(b) || (a < b ? -1 : 1)))
      for (const { HostIp, HostPort } of ports[port] ?? []) context.out(`${port} -> ${hostPort(HostIp, HostPort)}\n`);
    return 0;
  },
});
