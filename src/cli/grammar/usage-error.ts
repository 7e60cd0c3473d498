import { TareError } from '../../errors/index.ts';

/** A command line that cannot be understood; the exit code is 125, as docker's. */
export class UsageError extends TareError {
  constructor(message: string, options?: ErrorOptions) {
    super('InvalidArgument', message, options);
  }
}
