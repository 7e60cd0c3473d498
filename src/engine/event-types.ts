import type { Filters } from './filter-types.ts';

export interface EventRecord {
  /** Rises with each event; the cursor. */
  id: number;
  type: 'container' | 'image' | 'volume' | 'network' | 'daemon' | 'builder';
  action: string;
  actorId: string;
  attributes: Record<string, string>;
  /** Since the epoch. */
  timeNs: bigint;
}

export interface EventService {
  /**
   * Past events from `since`, then live ones until `until` or the signal. A reader may be as slow as it likes; where events were
   * trimmed before it came to them, a `daemon` event `events-lost` stands in their place.
   *
   * @throws {TareError} InvalidArgument: an unknown filter, a moment that is none, or one before the other
   */
  subscribe(options: {
    /** As `parseMoment` takes it; '': live ones alone, or all up to `until`. */
    since?: string;
    until?: string;
    filters?: Filters;
    signal?: AbortSignal;
  }): AsyncIterable<EventRecord>;
}
