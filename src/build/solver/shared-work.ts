import type { StepLimits } from '../executor/step-spec.ts';
import type { OperationContext } from '../operation.ts';
import type { VertexProgress, VertexWarning } from '../progress.ts';
import type { BuildSession } from '../session.ts';

/** A build that wants a piece of work. */
export interface Member {
  readonly signal: AbortSignal;
  readonly progress: VertexProgress;
  sessions(): readonly BuildSession[];
  allows(entitlement: string): boolean;
  limits?(): StepLimits | undefined;
  keepsFailures?(): boolean;
}

/** What the work told so far is told to those who join later, up to this much. */
const MAX_TOLD_BYTES = 1 << 20;
/** What is told takes so much beside its own bytes. */
const TOLD_BYTES = 100;

/** Work that several builds want is done once, and given up only when none of them wants it any more. */
export class SharedWorks<T> {
  readonly #running = new Map<string, Work<T>>();

  /**
   * @param id equal for equal work; undefined: nobody else's is equal
   * @returns what the work gives; rejects with the member's reason when its signal fires first
   */
  async join(id: string | undefined, member: Member, start: (context: OperationContext) => Promise<T>): Promise<T> {
    member.signal.throwIfAborted();
    const running = id === undefined ? undefined : this.#running.get(id);
    if (running !== undefined && !running.isGivenUp) return await running.join(member);
    const work: Work<T> = new Work(start, () => {
      if (id !== undefined && this.#running.get(id) === work) this.#running.delete(id);
    });
    if (id !== undefined) this.#running.set(id, work);
    return await work.join(member);
  }
}

class Work<T> {
  readonly #members = new Set<Member>();
  readonly #stop = new AbortController();
  readonly #start: (context: OperationContext) => Promise<T>;
  readonly #ended: () => void;
  #outcome: Promise<T> | undefined;
  #told: ((progress: VertexProgress) => void)[] = [];
  #toldBytes = 0;

  constructor(start: (context: OperationContext) => Promise<T>, ended: () => void) {
    this.#start = start;
    this.#ended = ended;
  }

  get isGivenUp(): boolean {
    return this.#stop.signal.aborted;
  }

  async join(member: Member): Promise<T> {
    this.#members.add(member);
    for (const tell of this.#told) tell(member.progress);
    const left = Promise.withResolvers<never>();
    const leave = () => {
      this.#members.delete(member);
      if (this.#members.size > 0) return left.reject(member.signal.reason);
      // Whoever leaves last waits until nothing is left of it.
      this.#stop.abort(member.signal.reason);
      this.#outcome!.then(
        () => left.reject(member.signal.reason),
        () => left.reject(member.signal.reason),
      );
    };
    this.#outcome ??= this.#run();
    member.signal.addEventListener('abort', leave, { once: true });
    try {
      return await Promise.race([left.promise, this.#outcome.catch((error) => this.#refuse(member, error))]);
    } finally {
      member.signal.removeEventListener('abort', leave);
      this.#members.delete(member);
    }
  }

  /** An error of work that its last member gave up is that member's leaving. */
  #refuse(member: Member, error: unknown): never {
    throw member.signal.aborted ? member.signal.reason : error;
  }

  async #run(): Promise<T> {
    const members = this.#members;
    try {
      return await this.#start({
        signal: this.#stop.signal,
        progress: {
          log: (stream, bytes) => this.#tell((progress) => progress.log(stream, bytes), TOLD_BYTES + bytes.length),
          status: (id, state) => this.#tell((progress) => progress.status(id, state), TOLD_BYTES),
          warn: (warning: Omit<VertexWarning, 'vertex'>) => this.#tell((progress) => progress.warn(warning), 500),
        },
        sessions: () => [...new Set([...members].flatMap((member) => member.sessions()))],
        allows: (entitlement) => [...members].some((member) => member.allows(entitlement)),
        limits: () => [...members].map((member) => member.limits?.()).find((limits) => limits !== undefined),
        keepsFailures: () => [...members].some((member) => member.keepsFailures?.() === true),
      });
    } finally {
      this.#told = [];
      this.#ended();
    }
  }

  #tell(what: (progress: VertexProgress) => void, bytes: number): void {
    this.#toldBytes += bytes;
    if (this.#toldBytes <= MAX_TOLD_BYTES) this.#told.push(what);
    for (const member of this.#members) what(member.progress);
  }
}
