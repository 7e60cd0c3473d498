import type { control } from '../../protocol/index.ts';
import type { BlobReader } from '../../storage/index.ts';

/** Which builds are told of. */
export interface HistoryQuestion {
  /** This one alone. */
  ref?: string;
  /** None that is over. */
  onlyRunning?: boolean;
  /** Each a list of conditions, separated by commas, all of which must be met; one list that is met suffices. */
  filters?: readonly string[];
  /** Of those that are over, this many at most, the newest. */
  limit?: number;
  /** Also what happens from now on, until the signal fires. */
  follows: boolean;
}

/**
 * Builds that run and builds that are over, of any process. A record is there from a build's beginning on; a build whose process died is
 * over with an error. Records that nobody pinned go once they are old and many newer ones are there.
 */
export interface BuildHistory {
  /** Running builds first, then those that are over, newest first. @throws {TareError} InvalidArgument: a bad filter */
  events(question: HistoryQuestion, signal: AbortSignal): AsyncIterable<control.BuildHistoryEvent>;
  /**
   * How a build goes, to its end, or went. One that is about to begin is waited for a moment.
   * @param over fires when what would have begun it has ended: if it never began, there is nothing to tell
   * @throws {TareError} NotFound; Unavailable: another process runs it
   */
  status(ref: string, signal: AbortSignal, over?: AbortSignal): AsyncIterable<control.StatusResponse>;
  /** @throws {TareError} NotFound; Conflict: it runs */
  pin(ref: string, isPinned: boolean): Promise<void>;
  /** Removes a record with what only it keeps. @throws {TareError} NotFound; Conflict: it runs */
  remove(ref: string): Promise<void>;
  /** What descriptors in records name, among other blobs. */
  readonly content: BlobReader;
}
