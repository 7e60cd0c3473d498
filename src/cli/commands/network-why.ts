import { command } from '../command.ts';
import { segment } from '../each.ts';

interface Report {
  Container: string;
  Port: string;
  Reach: { Who: string; Reachable: boolean; By: string[]; Rule: string }[];
  Notes: string[];
}

export default command({
  usage: '[OPTIONS] CONTAINER PORT[/PROTO]',
  description: 'Who reaches a port of a container, by which addresses, and the rule that lets them or keeps them out.',
  options: {
    format: { type: 'string', help: "'json' prints the answer of the engine", completes: ['json'] },
  },
  args: [2, 2],
  completes: 'containers',
  async run(context, options, [container, port]) {
    const client = await context.connect();
    const report = await client.json<Report>('GET', `/tare/containers/${segment(container!)}/reach`, {
      query: { port: port! },
    });
    if (options.format === 'json') {
      context.out(`${JSON.stringify(report)}\n`);
      return 0;
    }
    const lines = [`Port ${report.Port} of ${report.Container}`];
    for (const note of report.Notes) lines.push(`  note: ${note}`);
    for (const [title, isReachable] of [
      ['Reached by', true],
      ['Not reached by', false],
    ] as const) {
      const entries = report.Reach.filter(({ Reachable }) => Reachable === isReachable);
      lines.push('', `${title}${entries.length === 0 ? ' nobody' : ''}`);
      for (const { Who, By, Rule } of entries) {
        lines.push(`  ${Who}${By.length === 0 ? '' : `: ${By.join(', ')}`}`, `    ${Rule}`);
      }
    }
    context.out(`${lines.join('\n')}\n`);
    return 0;
  },
});
