import { command } from '../command.ts';
import { segment } from '../each.ts';

/** By the API's number. */
const kinds = ['C', 'A', 'D'];

export default command({
  usage: 'CONTAINER | CONTAINER|IMAGE CONTAINER|IMAGE',
  description:
    'With one container, what it changed of its image. With two containers or images, what the second has more (A), less (D) and otherwise (C); times do not count. A name that both have is the container.',
  options: {},
  args: [1, 2],
  completes: 'containers',
  async run(context, _options, [name, other]) {
    if (other !== undefined) {
      const { writeComparison } = await import('../local/compare.ts');
      await writeComparison(context.globals, name!, other, context.out);
      return 0;
    }
    const client = await context.connect();
    const changes = await client.json<{ Path: string; Kind: number }[] | null>(
      'GET',
      `/containers/${segment(name!)}/changes`,
    );
    context.out((changes ?? []).map(({ Kind, Path }) => `${kinds[Kind] ?? '?'} ${Path}\n`).join(''));
    return 0;
  },
});
