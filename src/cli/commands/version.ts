import { messageOf } from '../../errors/index.ts';
import { command } from '../command.ts';
import { inspectFormatOption } from '../format-option.ts';
import { execute } from '../template/execute.ts';
import { parseTemplate } from '../template/parse.ts';
import { goJson } from '../template/text.ts';
import { VERSION } from '../version.ts';

interface ServerVersion {
  Version: string;
  ApiVersion: string;
  MinAPIVersion: string;
  GitCommit: string;
  Os: string;
  Arch: string;
  BuildTime?: string;
  KernelVersion?: string;
  Platform?: { Name: string };
  Components?: { Name: string; Version: string; Details?: Record<string, string> | null }[];
}

export default command({
  usage: '[OPTIONS]',
  options: { format: inspectFormatOption },
  args: [0, 0],
  async run(context, options) {
    const { arch } = process;
    const mine = {
      Version: VERSION,
      ApiVersion: '1.51',
      Os: process.platform,
      Arch: arch === 'x64' ? 'amd64' : arch,
      NodeVersion: process.version,
    };
    let server: ServerVersion | undefined;
    let problem: unknown;
    let where = '';
    try {
      const client = await context.connect();
      where = client.address;
      server = await client.json<ServerVersion>('GET', '/version');
    } catch (error) {
      problem = error;
    }
    const both = { Client: mine, Server: server ?? null };
    const format = options.format ?? '';
    if (format === 'json') context.out(`${goJson(both)}\n`);
    else if (format !== '') context.out(`${execute(parseTemplate(format), both)}\n`);
    else {
      context.out(
        block('Client: Tare', [
          ['Version', mine.Version],
          ['API version', mine.ApiVersion],
          ['Node.js', mine.NodeVersion],
          ['OS/Arch', `${mine.Os}/${mine.Arch}`],
        ]),
      );
      if (server) context.out(`\n${serverText(server, where)}`);
    }
    if (problem === undefined) return 0;
    context.err(`tare: ${messageOf(problem)}\n`);
    return 1;
  },
});

function serverText(server: ServerVersion, where: string): string {
  const rows: [string, string][] = [
    ['Version', server.Version],
    ['API version', `${server.ApiVersion} (minimum version ${server.MinAPIVersion})`],
    ['Git commit', server.GitCommit],
    ['OS/Arch', `${server.Os}/${server.Arch}`],
    ['Kernel', server.KernelVersion ?? ''],
    ['Reached through', where],
  ];
  // The first component is the engine itself.
  const parts = (server.Components ?? []).slice(1).map(({ Name, Version }): [string, string] => [Name, Version]);
  return block(`Engine: ${server.Platform?.Name || 'Tare'}`, [...rows, ...parts]);
}

function block(title: string, rows: [string, string][]): string {
  const shown = rows.filter(([, value]) => value !== '');
  return `${title}\n${shown.map(([name, value]) => ` ${`${name}:`.padEnd(18)}${value}\n`).join('')}`;
}
