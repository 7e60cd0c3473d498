import { HELD_SECONDS } from './rules.ts';

/** What the kernel counted of one attempt to reach something. */
export interface HeldAttempt {
  isDenied: boolean;
  source: string;
  destination: string;
  /** A protocol's name, or its number. */
  protocol: string;
  port: number;
  count: number;
  /** Since the last packet. */
  idleMs: number;
}

interface HeldElement {
  val: { concat: (string | number)[] };
  /** Seconds left. */
  expires: number;
  counter: { packets: number };
}

/** Elements of a set that the kernel fills, from libnftables' JSON. */
export function heldAttempts(listed: unknown, isDenied: boolean): HeldAttempt[] {
  const { nftables = [] } = listed as { nftables?: { set?: { elem?: { elem: HeldElement }[] } }[] };
  const elements = nftables.flatMap(({ set }) => set?.elem ?? []).map(({ elem }) => elem);
  return elements.map(({ val, expires, counter }) => {
    const [source = '', destination = '', protocol = '', port = 0] = val.concat;
    return {
      ...{ isDenied, source: String(source), destination: String(destination), protocol: String(protocol) },
      ...{ port: Number(port), count: counter.packets },
      idleMs: Math.max(0, HELD_SECONDS - expires) * 1_000,
    };
  });
}
