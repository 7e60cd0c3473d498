import { type Context, command } from '../command.ts';
import { segment } from '../each.ts';
import { readEgress } from '../grammar/egress.ts';
import { UsageError } from '../grammar/usage-error.ts';
import { hostPort } from '../output/ports.ts';
import { table } from '../output/table.ts';
import { visibleText } from '../output/visible-text.ts';

interface Report {
  Kind: string;
  Name: string;
  Rules: string[];
  Default: string;
  Networks: { Name: string; Rules: string[] }[];
  Open: { Name: string; Address: string; Until: string }[];
  Attempts: {
    Denied: boolean;
    Container: string;
    Destination: string;
    Protocol: string;
    Port: number;
    Count: number;
    First: string;
    Last: string;
  }[];
}

/** What follows the verb and the target: how many words at least and at most. */
const verbs: Record<string, readonly [min: number, max: number]> = {
  show: [0, 0],
  log: [0, 0],
  learned: [0, 0],
  clear: [0, 0],
  rm: [0, 0],
  set: [1, Number.POSITIVE_INFINITY],
  default: [1, 1],
  allow: [1, Number.POSITIVE_INFINITY],
  'allow-private': [1, Number.POSITIVE_INFINITY],
  deny: [1, Number.POSITIVE_INFINITY],
  withdraw: [1, Number.POSITIVE_INFINITY],
};

export default command({
  usage:
    '[OPTIONS] show|log|learned|clear|rm CONTAINER | set CONTAINER RULE... | default CONTAINER allow|deny|learn | ' +
    'allow|allow-private|deny CONTAINER DESTINATION... | withdraw CONTAINER RULE...',
  description:
    'What a container may reach. set gives a policy, of rules like allow=example.com:443, deny=10.0.0.0/8, default=deny or ' +
    'file=PATH; allow and deny put rules before the others, withdraw takes some back, default says what becomes of the rest, ' +
    'and rm removes the policy: all of them at once for a container that runs. show prints rules, open names and what was denied, ' +
    'log every attempt with its time, learned a policy of what was let through under default=learn; clear forgets attempts.',
  options: {
    format: { type: 'string', help: "'json' prints the answer of the engine", completes: ['json'] },
    network: { type: 'bool', help: 'Not of a container: of all containers on the network that is named' },
  },
  args: [2, Number.POSITIVE_INFINITY],
  completes: 'containers',
  async run(context, options, [verb = '', target = '', ...rest]) {
    const bounds = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (bounds === undefined || rest.length < bounds[0] || rest.length > bounds[1]) {
      throw new UsageError(
        `unknown use of ${context.path}: expected one of ${Object.keys(verbs).join(', ')}, then a name`,
      );
    }
    const client = await context.connect();
    const path = `/tare/${options.network ? 'networks' : 'containers'}/${segment(target)}/egress`;
    const change = async (body: object) => void (await client.json('POST', path, { body }));
    switch (verb) {
      case 'set':
        await change({ Set: readEgress(rest) });
        break;
      case 'default':
        await change({ Default: rest[0] });
        break;
      case 'withdraw':
        await change({ Withdraw: rest });
        break;
      case 'rm':
        await client.json('DELETE', path);
        break;
      case 'clear':
        await client.json('DELETE', `${path}/attempts`);
        break;
      case 'learned': {
        const { Rules } = await client.json<{ Rules: string[] }>('GET', `${path}/learned`);
        context.out(`${Rules.join('\n')}\n`);
        break;
      }
      case 'show':
      case 'log': {
        const report = await client.json<Report>('GET', path);
        if (options.format === 'json') context.out(`${JSON.stringify(report)}\n`);
        else if (verb === 'log') showLog(context, report);
        else showPolicy(context, report);
        break;
      }
      default:
        await change({ Add: rest.map((destination) => `${verb} ${destination}`) });
    }
    return 0;
  },
});

const defaults: Record<string, string> = {
  allow: 'the rest is let through',
  deny: 'the rest is denied',
  learn: 'the rest is let through and recorded',
};

function showPolicy(context: Context, { Kind, Name, Rules, Default, Networks, Open, Attempts }: Report): void {
  const lines: string[] = [];
  if (Default === '') lines.push(`${Kind} ${Name} has no egress policy: it reaches everything that its network does`);
  else lines.push(`Egress policy of ${Kind} ${Name}`, ...[...Rules, `default ${Default}`].map((rule) => `  ${rule}`));
  if (Default !== '') lines.push(`  (the first rule that fits decides; ${defaults[Default] ?? Default})`);
  for (const network of Networks) {
    lines.push('', `Network ${network.Name} must allow as well`, ...network.Rules.map((rule) => `  ${rule}`));
  }
  if (Open.length > 0) {
    lines.push(
      '',
      'Open by name',
      ...Open.map((one) => `  ${visibleText(one.Name)} ${one.Address} until ${one.Until}`),
    );
  }
  const denied = Attempts.filter((attempt) => attempt.Denied);
  if (denied.length > 0) {
    const count = denied.reduce((sum, attempt) => sum + attempt.Count, 0);
    const many = denied.length === 1 ? 'destination' : 'destinations';
    lines.push('', `Denied: ${count} packets and look-ups to ${denied.length} ${many}, the last ones`);
    lines.push(
      ...denied
        .slice(0, SHOWN)
        .map((attempt) => `  ${attempt.Last} ${attempt.Container} ${place(attempt)} (${attempt.Count})`),
    );
  }
  context.out(`${lines.join('\n')}\n`);
}

const SHOWN = 10;

function place({ Destination, Protocol, Port }: Report['Attempts'][number]): string {
  // A name is what a container wrote into its question.
  if (Port === 0) return `${Protocol} ${visibleText(Destination)}`;
  return `${Protocol} ${hostPort(Destination, String(Port))}`;
}

function showLog(context: Context, { Attempts }: Report): void {
  const rows = Attempts.map((attempt) => [
    ...[attempt.Last, attempt.First, attempt.Denied ? 'denied' : 'learned', attempt.Container, place(attempt)],
    String(attempt.Count),
  ]);
  context.out(table([['LAST', 'FIRST', 'VERDICT', 'CONTAINER', 'DESTINATION', 'COUNT'], ...rows]));
}
