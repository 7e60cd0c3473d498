/** A line on its way to a collector, or a part of one that is longer than collectors take. */
export interface ShippedLine {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds, in UTC. */
  time: string;
  /** Without its newline. */
  text: Uint8Array;
  part?: LinePart;
}

/** Docker's marks on the parts of a line. */
export interface LinePart {
  id: string;
  /** From 1. */
  ordinal: number;
  isLast: boolean;
}

/** A collector, connected when first needed. */
export interface LogSink extends AsyncDisposable {
  /**
   * Hands over lines in order; resolves when they are the kernel's, or acknowledged where the protocol can and was asked to.
   * After an error all of them are sent again.
   *
   * @throws {TareError} Unavailable: the collector takes nothing now
   */
  send(lines: readonly ShippedLine[]): Promise<void>;
  /**
   * Connects, to find out before a container starts whether it could. Does nothing for what has no connection.
   * @throws {TareError} Unavailable
   */
  connect(): Promise<void>;
}
