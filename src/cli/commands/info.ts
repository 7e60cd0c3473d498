import { command } from '../command.ts';
import { inspectFormatOption } from '../format-option.ts';
import { binarySize } from '../output/units.ts';
import { execute } from '../template/execute.ts';
import { parseTemplate } from '../template/parse.ts';
import { goJson } from '../template/text.ts';
import { VERSION } from '../version.ts';

interface Info {
  ID: string;
  Containers: number;
  ContainersRunning: number;
  ContainersPaused: number;
  ContainersStopped: number;
  Images: number;
  Driver: string;
  DriverStatus: [string, string][] | null;
  LoggingDriver: string;
  CgroupDriver: string;
  CgroupVersion?: string;
  Plugins: { Volume: string[] | null; Network: string[] | null; Log: string[] | null };
  Runtimes: Record<string, unknown> | null;
  DefaultRuntime: string;
  SecurityOptions: string[] | null;
  KernelVersion: string;
  OperatingSystem: string;
  OSType: string;
  Architecture: string;
  NCPU: number;
  MemTotal: number;
  Name: string;
  DockerRootDir: string;
  Debug: boolean;
  ServerVersion: string;
  HttpProxy: string;
  HttpsProxy: string;
  NoProxy: string;
  Labels: string[] | null;
  Warnings: string[] | null;
}

export default command({
  usage: '[OPTIONS]',
  options: { format: inspectFormatOption },
  args: [0, 0],
  async run(context, options) {
    const client = await context.connect();
    const info = await client.json<Info>('GET', '/info');
    const format = options.format ?? '';
    if (format === 'json') context.out(`${goJson(info)}\n`);
    else if (format !== '') context.out(`${execute(parseTemplate(format), info)}\n`);
    else {
      context.out(infoText(info, client.address));
      for (const warning of info.Warnings ?? []) context.err(`${warning}\n`);
    }
    return 0;
  },
});

function infoText(info: Info, address: string): string {
  const lines: string[] = [];
  const line = (depth: number, name: string, value?: string | number | boolean) => {
    if (value !== '') lines.push(`${' '.repeat(depth)}${name}:${value === undefined ? '' : ` ${value}`}`);
  };
  line(0, 'Client');
  line(1, 'Version', VERSION);
  line(1, 'Engine', address);
  lines.push('');
  line(0, 'Server');
  line(1, 'Containers', info.Containers);
  line(2, 'Running', info.ContainersRunning);
  line(2, 'Paused', info.ContainersPaused);
  line(2, 'Stopped', info.ContainersStopped);
  line(1, 'Images', info.Images);
  line(1, 'Server Version', info.ServerVersion);
  line(1, 'Storage Driver', info.Driver);
  for (const [name, value] of info.DriverStatus ?? []) line(2, name, value);
  line(1, 'Logging Driver', info.LoggingDriver);
  line(1, 'Cgroup Driver', info.CgroupDriver);
  line(1, 'Cgroup Version', info.CgroupVersion ?? '1');
  line(1, 'Plugins');
  line(2, 'Volume', (info.Plugins.Volume ?? []).join(' '));
  line(2, 'Network', (info.Plugins.Network ?? []).join(' '));
  line(2, 'Log', (info.Plugins.Log ?? []).join(' '));
  line(
    1,
    'Runtimes',
    Object.keys(info.Runtimes ?? {})
      .sort()
      .join(' '),
  );
  line(1, 'Default Runtime', info.DefaultRuntime);
  if (info.SecurityOptions?.length) {
    line(1, 'Security Options');
    for (const option of info.SecurityOptions) lines.push(`  ${option.replace(/^name=/, '').split(',')[0]}`);
  }
  line(1, 'Kernel Version', info.KernelVersion);
  line(1, 'Operating System', info.OperatingSystem);
  line(1, 'OSType', info.OSType);
  line(1, 'Architecture', info.Architecture);
  line(1, 'CPUs', info.NCPU);
  line(1, 'Total Memory', binarySize(info.MemTotal));
  line(1, 'Name', info.Name);
  line(1, 'ID', info.ID);
  line(1, 'Tare Root Dir', info.DockerRootDir);
  line(1, 'Debug Mode', info.Debug);
  line(1, 'HTTP Proxy', info.HttpProxy);
  line(1, 'HTTPS Proxy', info.HttpsProxy);
  line(1, 'No Proxy', info.NoProxy);
  if (info.Labels?.length) {
    line(1, 'Labels');
    for (const label of info.Labels) lines.push(`  ${label}`);
  }
  return `${lines.join('\n')}\n`;
}
