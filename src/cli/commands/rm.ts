import { kindOf, messageOf } from '../../errors/index.ts';
import { type Context, command } from '../command.ts';
import { forEach, segment } from '../each.ts';
import type { Client } from '../transport/client.ts';

export default command({
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  description: 'Working containers (tare from) as well.',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the removal of a running container (uses SIGKILL)' },
    link: { type: 'bool', short: 'l', help: 'Remove the specified link' },
    volumes: { type: 'bool', short: 'v', help: 'Remove anonymous volumes associated with the container' },
  },
  args: [1, Number.POSITIVE_INFINITY],
  completes: 'all-containers',
  async run(context, options, names) {
    const client = await context.connect();
    return await forEach(context, names, async (name) => {
      try {
        await removeOne(context, client, name, options);
      } catch (error) {
        // What is to be gone and is not there is no failure of rm -f.
        if (!options.force || kindOf(error) !== 'NotFound') throw error;
        context.err(`tare: ${messageOf(error)}\n`);
        return undefined;
      }
      return name;
    });
  },
});

async function removeOne(
  context: Context,
  client: Client,
  name: string,
  { force, link, volumes }: { force: boolean; link: boolean; volumes: boolean },
): Promise<void> {
  try {
    await client.json('DELETE', `/containers/${segment(name)}`, { query: { force, link, v: volumes } });
  } catch (error) {
    if (link || kindOf(error) !== 'NotFound') throw error;
    const { elseWorking } = await import('../working/working-here.ts');
    await elseWorking(context, name, error, (container) => container.remove());
  }
}
