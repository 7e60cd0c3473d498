import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { TareError } from '../../errors/index.ts';
import { gateway, status } from '../../protocol/index.ts';
import type { RunningStep } from '../executor/step-container.ts';
import { statusOf } from '../history/error-status.ts';

/** Of one call; clients use one for each process. */
const MAX_PROCESSES = 16;
/** How BuildKit calls an end that is no exit code. */
const UNKNOWN_EXIT = 255;
const UNKNOWN_CODE = 2;
/** What a terminal takes for the end of its input. */
const END_OF_INPUT = '\x04';

type Answer = MessageInitShape<typeof gateway.ExecMessageSchema>['Input'];

/** `LLBBridge.ExecProcess`: processes over a stream of messages, each named by its client. What still runs when the client hangs up is killed. */
export async function* execProcess(
  messages: AsyncIterable<gateway.ExecMessage>,
  start: (init: gateway.InitMessage) => Promise<RunningStep>,
): AsyncGenerator<gateway.ExecMessage, void> {
  const answers = new Answers();
  const processes = new Map<string, Process>();
  const take = async () => {
    for await (const { ProcessID: id, Input: input } of messages) {
      if (input.case === 'Init') {
        if (processes.has(id)) throw new TareError('AlreadyExists', `process ${id} exists already`);
        if (processes.size >= MAX_PROCESSES)
          throw new TareError('InvalidArgument', `more than ${MAX_PROCESSES} processes in one call`);
        const begun = new Process(id, input.value, answers, start);
        processes.set(id, begun);
        // Its own failures are told in its exit message.
        void begun.run().finally(() => {
          processes.delete(id);
          if (processes.size === 0) answers.rest();
        });
      } else if (input.case !== undefined) {
        // One that has ended meanwhile needs nothing any more.
        await processes.get(id)?.take(input);
      }
    }
    answers.close();
  };
  void take().catch((error: unknown) => answers.fail(error));
  try {
    yield* answers;
  } finally {
    answers.drop();
    await Promise.all([...processes.values()].map((one) => one.end()));
  }
}

class Process {
  readonly #id: string;
  readonly #init: gateway.InitMessage;
  readonly #answers: Answers;
  readonly #starting: Promise<RunningStep>;
  #ended: Promise<void> | undefined;

  constructor(
    id: string,
    init: gateway.InitMessage,
    answers: Answers,
    start: (init: gateway.InitMessage) => Promise<RunningStep>,
  ) {
    this.#id = id;
    this.#init = init;
    this.#answers = answers;
    this.#starting = start(init);
    this.#starting.catch(() => {});
  }

  run(): Promise<void> {
    this.#ended ??= this.#run();
    return this.#ended;
  }

  async #run(): Promise<void> {
    let code: number;
    let error: status.Status | undefined;
    try {
      const running = await this.#starting;
      await this.#say({ case: 'Started', value: {} });
      code = await this.#follow(running);
      if (code !== 0) error = create(status.StatusSchema, { code: UNKNOWN_CODE, message: `exit code: ${code}` });
    } catch (failure) {
      code = UNKNOWN_EXIT;
      error = statusOf(failure);
    }
    await this.#say({ case: 'Exit', value: { Code: code, ...(error && { Error: error }) } });
    await this.#say({ case: 'Done', value: {} });
  }

  async #follow({ stdin, stdout, stderr, ended }: RunningStep): Promise<number> {
    stdin?.on('error', () => {}); // it has ended
    const { Fds } = this.#init;
    const outputs = [
      [1, stdout],
      [2, stderr],
    ] as const;
    const told = outputs.map(async ([fd, stream]) => {
      const isWanted = Fds.includes(fd);
      try {
        // Of a terminal, the second is there and says nothing.
        for await (const chunk of stream ?? []) {
          if (isWanted) await this.#say({ case: 'File', value: { Fd: fd, Data: chunk as Uint8Array } });
        }
      } catch {
        // Cut off: what came is all there is.
      }
      if (isWanted) await this.#say({ case: 'File', value: { Fd: fd, EOF: true } });
    });
    const [end] = await Promise.allSettled([ended]);
    // Who waits for room in it waits no more. A terminal ends by itself, and may have something left to say: it is both.
    if (!this.#init.Tty) stdin?.destroy();
    await Promise.all(told);
    if (end.status === 'rejected') throw end.reason;
    return end.value;
  }

  async take(input: Exclude<gateway.ExecMessage['Input'], { case: undefined }>): Promise<void> {
    const running = await this.#starting.catch(() => undefined);
    if (running === undefined) return;
    switch (input.case) {
      case 'File':
        return await this.#write(running, input.value);
      case 'Resize':
        return running.resize(clamp(input.value.Rows), clamp(input.value.Cols));
      case 'Signal':
        return void running.signal(signalOf(input.value.Name));
      default:
        throw new TareError('InvalidArgument', `unexpected message ${input.case} for process ${this.#id}`);
    }
  }

  async #write({ stdin }: RunningStep, { Fd, Data, EOF }: gateway.FdMessage): Promise<void> {
    if (Fd !== 0) throw new TareError('InvalidArgument', `descriptor ${Fd} of process ${this.#id} is no input: want 0`);
    if (stdin === undefined || stdin.destroyed) return;
    // A program that does not read holds its client up, and nobody else.
    if (Data.length > 0 && !stdin.write(Data)) await hasRoom(stdin);
    if (!EOF) return;
    if (this.#init.Tty) stdin.write(END_OF_INPUT);
    else stdin.end();
  }

  /** Kills it, and waits until it is gone. */
  async end(): Promise<void> {
    const running = await this.#starting.catch(() => undefined);
    await running?.kill();
    await this.#ended;
  }

  #say(answer: Answer): Promise<void> {
    return this.#answers.put(create(gateway.ExecMessageSchema, { ProcessID: this.#id, Input: answer! }));
  }
}

/** Messages on their way to a client: whoever has one waits until it is taken. */
class Answers implements AsyncIterable<gateway.ExecMessage> {
  readonly #waiting: { message: gateway.ExecMessage; taken: () => void }[] = [];
  #wake = () => {};
  #isClosing = false;
  #isIdle = true;
  #isDropped = false;
  #failure: { error: unknown } | undefined;

  put(message: gateway.ExecMessage): Promise<void> {
    if (this.#isDropped) return Promise.resolve();
    this.#isIdle = false;
    return new Promise((taken) => {
      this.#waiting.push({ message, taken });
      this.#wake();
    });
  }

  /** Nothing runs at the moment. */
  rest(): void {
    this.#isIdle = true;
    this.#wake();
  }

  /** No process will be begun any more. */
  close(): void {
    this.#isClosing = true;
    this.#wake();
  }

  fail(error: unknown): void {
    this.#failure = { error };
    this.#wake();
  }

  /** Nobody takes them any more. */
  drop(): void {
    this.#isDropped = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<gateway.ExecMessage, void> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      const next = this.#waiting.shift();
      if (next !== undefined) {
        yield next.message;
        next.taken();
      } else if (this.#isClosing && this.#isIdle) return;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

/** Resolves when more can be written, or nothing any more. */
async function hasRoom(stream: Writable): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once('drain', resolve).once('close', resolve);
  await promise;
  stream.off('drain', resolve).off('close', resolve);
}

/** The kernel has 16 bits for each. */
const clamp = (count: number): number => Math.min(count, 0xffff);

function signalOf(name: string): number {
  const number = (constants.signals as Record<string, number>)[`SIG${name.toUpperCase().replace(/^SIG/, '')}`];
  if (number === undefined) throw new TareError('InvalidArgument', `unknown signal ${JSON.stringify(name)}`);
  return number;
}
