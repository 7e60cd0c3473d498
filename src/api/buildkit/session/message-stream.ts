/** One call of gRPC as messages in bytes, by either of its sides. Disposing one that is not over cancels it. */
export interface MessageStream extends Disposable {
  /** Sends a message in pieces. Resolves when there is room for the next one. */
  send(...pieces: readonly Uint8Array[]): Promise<void>;
  /** Nothing more will be sent. */
  end(): void;
  /**
   * Messages as they come, those of one piece of the stream together.
   * @throws {TareError} what the other side says at its end, or Unavailable: it is gone
   */
  batches(): AsyncGenerator<Uint8Array[], void>;
}
