/** One step of a long work, for whoever watches. */
export interface Progress {
  /** Short name of the blob in work. */
  id?: string;
  status?: string;
  stream?: string;
  currentBytes?: number;
  totalBytes?: number;
}

const INTERVAL_MS = 100;

/** Says when a watcher should hear of progress again, so that telling costs less than the work. */
export class ProgressPace {
  #nextMs = 0;
  isDue(): boolean {
    const now = performance.now();
    if (now < this.#nextMs) return false;
    this.#nextMs = now + INTERVAL_MS;
    return true;
  }
}
