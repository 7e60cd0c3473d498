/** Filters as docker's: key → wanted values; for labels `key` or `key=value`. */
export type Filters = Record<string, string[]>;

export interface PruneReport {
  deleted: string[];
  spaceReclaimedBytes: number;
}
