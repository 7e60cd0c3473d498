import type { Endpoint, PortMapping } from './driver.ts';
import type { NamedSet } from './rules.ts';

/** Ports of one container that another one reaches on a network that keeps its containers apart. */
export interface Passage {
  networkId: string;
  /** Who asks. */
  from: string;
  /** Whose ports they are. */
  to: string;
  ports: readonly { protocol: PortMapping['protocol']; port: number }[];
}

/** The sets of what is let through, with an element for each pair of addresses and run of ports. */
export function passageSets(passages: readonly Passage[], endpoints: readonly Endpoint[]): NamedSet[] {
  const places = Map.groupBy(endpoints, ({ containerId, networkId }) => `${containerId} ${networkId}`);
  const placesOf = (containerId: string, networkId: string) => places.get(`${containerId} ${networkId}`) ?? [];
  return ([4, 6] as const).map((family) => {
    const pairs = passages.flatMap(({ networkId, from, to, ports }) =>
      placesOf(from, networkId).flatMap((asker) =>
        placesOf(to, networkId).flatMap((asked) => {
          const [source, destination] = [addressOf(asker, family), addressOf(asked, family)];
          return source === '' || destination === '' ? [] : [{ pair: `${source} . ${destination}`, ports }];
        }),
      ),
    );
    // Two links to the same container are one pair, and elements must not overlap.
    const byPair = Map.groupBy(pairs, ({ pair }) => pair);
    return {
      kind: 'set',
      name: `linked${family}`,
      type: `type ipv${family}_addr . ipv${family}_addr . inet_proto . inet_service; flags interval;`,
      elements: [...byPair].flatMap(([pair, its]) =>
        runs(its.flatMap(({ ports }) => ports)).map((run) => `${pair} . ${run}`),
      ),
    };
  });
}

const addressOf = ({ ipv4, ipv6 }: Endpoint, family: 4 | 6): string =>
  (family === 4 ? ipv4 : ipv6).split('/', 1)[0] as string;

/** Neighbouring ports as ranges: `tcp . 80-81` */
function runs(ports: Passage['ports']): string[] {
  return [...Map.groupBy(ports, ({ protocol }) => protocol)].flatMap(([protocol, its]) => {
    const numbers = [...new Set(its.map(({ port }) => port))].sort((a, b) => a - b);
    const found: [first: number, last: number][] = [];
    for (const number of numbers) {
      const open = found.at(-1);
      if (open !== undefined && open[1] === number - 1) open[1] = number;
      else found.push([number, number]);
    }
    return found.map(([first, last]) => `${protocol} . ${first === last ? first : `${first}-${last}`}`);
  });
}
