import type { Filters } from './filter-types.ts';

export interface EventRecord {
  /** Rises with each event; the cursor. */
  id: number;
  type: 'container' | 'image' | 'volume' | 'network' | 'daemon' | 'builder';
  action: string;
  actorId: string;
  attributes: Record<string, string>;
  timeNs: bigint;
}

export interface EventService {
  /** Past events from `since`, then live ones until `until` or the signal. */
  subscribe(options: {
    sinceSeconds?: number;
    untilSeconds?: number;
    filters?: Filters;
    signal?: AbortSignal;
  }): AsyncIterable<EventRecord>;
}
