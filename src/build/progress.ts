/** A vertex as a client draws it. Sent again whenever something of it changes. Times in milliseconds since the epoch. */
export interface VertexState {
  digest: string;
  inputs: readonly string[];
  name: string;
  isCached: boolean;
  startedMs?: number;
  completedMs?: number;
  /** Empty: none; canceled ones say so. */
  error?: string;
  progressGroup?: { id: string; name: string; weak: boolean };
}

/** A part of a vertex's work that is counted: a layer's bytes, files sent. */
export interface VertexStatus {
  id: string;
  vertex: string;
  name: string;
  current: number;
  total: number;
  timestampMs: number;
  startedMs?: number;
  completedMs?: number;
}

export interface VertexLog {
  vertex: string;
  timestampMs: number;
  /** 1: standard output, 2: standard error. */
  stream: number;
  bytes: Uint8Array;
}

export interface LineRange {
  /** Lines from 1, characters from 0. */
  start: { line: number; character: number };
  end: { line: number; character: number };
}

export interface SourceFile {
  filename: string;
  data: Uint8Array;
  language?: string;
}

export interface VertexWarning {
  vertex: string;
  level: number;
  short: string;
  detail: readonly string[];
  url?: string;
  source?: SourceFile;
  ranges: readonly LineRange[];
}

/** What a build tells while it runs; each part may be empty. */
export interface BuildProgress {
  vertices?: readonly VertexState[];
  statuses?: readonly VertexStatus[];
  logs?: readonly VertexLog[];
  warnings?: readonly VertexWarning[];
}

/** Takes progress as it comes; never blocks, the taker drops or joins what is too much. */
export type ProgressSink = (progress: BuildProgress) => void;

/** How an operation tells of its own work. */
export interface VertexProgress {
  log(stream: 1 | 2, bytes: Uint8Array): void;
  /** Begins or goes on with a counted part. */
  status(id: string, state: { current?: number; total?: number; isDone?: boolean; name?: string }): void;
  warn(warning: Omit<VertexWarning, 'vertex'>): void;
}

/** Of work that nobody watches. */
export const silentProgress: VertexProgress = { log: () => {}, status: () => {}, warn: () => {} };
