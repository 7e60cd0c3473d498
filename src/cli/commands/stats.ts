import { TareError } from '../../errors/index.ts';
import { command } from '../command.ts';
import { segment } from '../each.ts';
import { formatOption } from '../format-option.ts';
import type { ContainerSummary } from '../output/containers.ts';
import { formatList } from '../output/listing.ts';
import { type Stats, statsListing, statsRow } from '../output/stats.ts';
import { jsonLines } from '../stream/progress.ts';
import type { Client } from '../transport/client.ts';

const REFRESH_MS = 500;
const CLEAR_SCREEN = '\x1b[2J\x1b[H';

export default command({
  usage: '[OPTIONS] [CONTAINER...]',
  options: {
    all: { type: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    format: formatOption,
    'no-stream': { type: 'bool', help: 'Disable streaming stats and only pull the first result' },
    'no-trunc': { type: 'bool', help: 'Do not truncate output' },
  },
  args: [0, Number.POSITIVE_INFINITY],
  completes: 'running-containers',
  async run(context, options, names) {
    const client = await context.connect();
    const format = { format: options.format };
    const short = !options['no-trunc'];
    if (options['no-stream']) {
      const watched = await choose(client, names, options.all);
      const rows = await Promise.all(watched.map(async (one) => statsRow(one, await sample(client, one.id), short)));
      context.out(formatList(statsListing, rows, format));
      return 0;
    }
    const board = new Board(client);
    for (const one of await choose(client, names, options.all)) board.watch(one);
    // Containers that start while we look join; the engine's events tell.
    if (names.length === 0) board.followEvents();
    const screen = process.stdout.isTTY && (options.format === undefined || options.format.startsWith('table'));
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
      if (board.problem !== undefined) throw board.problem;
      // Named containers that are all gone: nothing is left to wait for.
      if (names.length > 0 && board.isEmpty) return 0;
      context.out((screen ? CLEAR_SCREEN : '') + formatList(statsListing, board.rows(short), format));
    }
  },
});

interface Watched {
  id: string;
  name: string;
}

async function choose(client: Client, names: readonly string[], all: boolean): Promise<Watched[]> {
  if (names.length > 0)
    return await Promise.all(
      names.map(async (name) => {
        const { Id, Name } = await client.json<{ Id: string; Name: string }>(
          'GET',
          `/containers/${segment(name)}/json`,
        );
        return { id: Id, name: Name.replace(/^\//, '') };
      }),
    );
  const containers = await client.json<ContainerSummary[]>('GET', '/containers/json', { query: { all } });
  return containers.map(({ Id, Names }) => ({ id: Id, name: (Names?.[0] ?? '').replace(/^\//, '') }));
}

async function sample(client: Client, id: string): Promise<Stats | undefined> {
  // `stream=false` waits for a second sample, for CPU is a difference; "false" must be written out, it is not the default.
  const stats = await client.json<Stats>('GET', `/containers/${id}/stats`, { query: { stream: 'false' } });
  return stats.id === undefined && stats.pids_stats?.current === undefined ? undefined : stats;
}

/** The newest sample of each container that is watched. */
class Board {
  readonly #client: Client;
  readonly #watched = new Map<string, Watched & { stats?: Stats }>();
  problem: unknown;

  constructor(client: Client) {
    this.#client = client;
  }

  get isEmpty(): boolean {
    return this.#watched.size === 0;
  }

  rows(short: boolean) {
    return [...this.#watched.values()].map((one) => statsRow(one, one.stats, short));
  }

  watch(one: Watched): void {
    if (this.#watched.has(one.id)) return;
    const entry: Watched & { stats?: Stats } = { ...one };
    this.#watched.set(one.id, entry);
    const follow = async () => {
      const { body } = await this.#client.stream('GET', `/containers/${one.id}/stats`, { query: { stream: true } });
      for await (const stats of jsonLines<Stats>(body)) entry.stats = stats;
    };
    // It ended or was removed: the table goes on without it.
    follow().then(
      () => this.#watched.delete(one.id),
      () => this.#watched.delete(one.id),
    );
  }

  followEvents(): void {
    const follow = async () => {
      const { body } = await this.#client.stream('GET', '/events', {
        query: { filters: JSON.stringify({ type: ['container'], event: ['start'] }) },
      });
      for await (const event of jsonLines<{ Actor: { ID: string; Attributes?: { name?: string } } }>(body))
        this.watch({ id: event.Actor.ID, name: event.Actor.Attributes?.name ?? '' });
      throw new TareError('Unavailable', 'the daemon ended the connection');
    };
    follow().catch((error: unknown) => {
      this.problem = error;
    });
  }
}
