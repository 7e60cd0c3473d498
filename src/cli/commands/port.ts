import { TareError } from '../../errors/index.ts';
import { type Context, command } from '../command.ts';
import { segment } from '../each.ts';
import { parsePublication } from '../grammar/ports.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { hostPort } from '../output/ports.ts';

export default command({
  usage:
    'CONTAINER [PRIVATE_PORT[/PROTO]] | add CONTAINER [IP:][HOST_PORT:]PORT[/PROTO]... | rm CONTAINER [[IP:]HOST_PORT:]PORT[/PROTO]...',
  description:
    'add publishes more ports, of a running container at once, and rm takes some back; connections that are open go on. ' +
    'Both are kept over a restart. Without a host port, add takes a free one and rm takes all that lead to the container port.',
  options: {},
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, _options, args) {
    const [verb, ...rest] = args;
    if ((verb === 'add' || verb === 'rm') && args.length > 2) return await change(context, verb, rest);
    const [name, wanted, ...more] = args;
    if (more.length > 0)
      throw new UsageError(
        `too many arguments for ${context.path}: expected CONTAINER [PORT[/PROTO]], or add or rm first`,
      );
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

interface Listed {
  IP: string;
  PrivatePort: number;
  PublicPort: number;
  Type: string;
}

async function change(context: Context, verb: 'add' | 'rm', [name, ...texts]: string[]): Promise<number> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const { containerPort, hostIp, hostPort: port } of texts.flatMap(parsePublication)) {
    bindings[containerPort] ??= [];
    bindings[containerPort].push({ HostIp: hostIp, HostPort: port });
  }
  const client = await context.connect();
  const path = `/tare/containers/${segment(name!)}/ports`;
  const answer = await client.json<{ Ports?: Listed[] }>(verb === 'add' ? 'POST' : 'DELETE', path, {
    body: { PortBindings: bindings },
  });
  for (const { IP, PrivatePort, PublicPort, Type } of answer.Ports ?? []) {
    const where = PublicPort === 0 ? IP : hostPort(IP, String(PublicPort));
    context.out(`${PrivatePort}/${Type} -> ${where}\n`);
  }
  return 0;
}
