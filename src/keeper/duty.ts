/** One duty of the keeper: told of the containers that matter, it keeps its own timers. */
export interface Duty extends Disposable {
  /** Called at the start and after each change of the records. Must not throw. */
  look(): void;
  /** Whether it has to finish something that no container needs any more. */
  readonly isBusy?: boolean;
}
