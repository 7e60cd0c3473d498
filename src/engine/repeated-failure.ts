import { messageOf } from '../errors/index.ts';

/** Of work that is tried again and again: what fails each time in the same way is told once. */
export class RepeatedFailure {
  readonly #tell: (error: unknown) => void;
  #told: string | undefined;

  constructor(report: (subject: string, error: unknown) => void, subject: string) {
    this.#tell = (error) => report(subject, error);
  }

  add(error: unknown): void {
    if (this.#told !== messageOf(error)) this.#tell(error);
    this.#told = messageOf(error);
  }

  /** It worked: the next failure is a new one. */
  clear(): void {
    this.#told = undefined;
  }
}
