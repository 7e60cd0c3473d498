/** What went wrong, in the engine's own terms; each face maps a kind to its status in one table. */
export type ErrorKind =
  | 'InvalidArgument'
  | 'NotFound'
  | 'Conflict'
  | 'AlreadyExists'
  | 'NotModified'
  | 'Unauthorized'
  | 'Forbidden'
  | 'Unsupported'
  | 'Unavailable'
  | 'NotExecutable'
  | 'CommandNotFound'
  | 'Internal';

/** An error with a kind. The message names the thing, the value and the remedy. */
export class TareError extends Error {
  readonly kind: ErrorKind;
  constructor(kind: ErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'TareError';
    this.kind = kind;
  }
}

/** The kind of any thrown value; what is not ours is Internal. */
export function kindOf(error: unknown): ErrorKind {
  // A cleanup failed as well: the first failure decides.
  if (error instanceof SuppressedError) return kindOf(error.suppressed);
  return error instanceof TareError ? error.kind : 'Internal';
}

/** The text to show for any thrown value. */
export function messageOf(error: unknown): string {
  if (error instanceof SuppressedError) return messageOf(error.suppressed);
  return error instanceof Error ? error.message : String(error);
}

/** A thrown value as plain data, on its way from one thread to another. */
export interface CarriedError {
  kind: ErrorKind;
  message: string;
  stack: string | undefined;
}

export const carried = (error: unknown): CarriedError => ({
  kind: kindOf(error),
  message: messageOf(error),
  stack: error instanceof Error ? error.stack : undefined,
});

/** The error with the stack that it was thrown with in the other thread. */
export function revived({ kind, message, stack }: CarriedError): TareError {
  const error = new TareError(kind, message);
  if (stack !== undefined) error.stack = stack;
  return error;
}
