import { randomUUID } from 'node:crypto';
import { PassThrough, Writable } from 'node:stream';
import { create, fromBinary, fromJson, type JsonValue, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { ErrorDetail, FailedCommand, RunningStep } from '../../../build/index.ts';
import { TareError } from '../../../errors/index.ts';
import { type ExecOp, errdefs, gateway, MetaSchema, type Mount } from '../../../protocol/index.ts';
import { GrpcCall } from '../session/grpc-call.ts';
import { type DrivenBuild, pathOf } from './driven-build.ts';

const SOLVE = 'github.com/moby/buildkit/errdefs.Solve+json';
/** How BuildKit calls an end that is no exit code. */
const UNKNOWN_EXIT = 255;
const SIGKILL = 9;
const { execProcess, newContainer, releaseContainer } = gateway.LLBBridge.method;

/** BuildKit takes letters and digits alone. */
const newID = (): string => randomUUID().replaceAll('-', '');

type Input = NonNullable<MessageInitShape<typeof execProcess.input>['Input']>;

/**
 * A command that failed at a daemon, for who looks into it; dispose it afterwards.
 *
 * @returns undefined: what failed was no command
 */
export function remoteCommand(
  bridge: DrivenBuild,
  error: unknown,
  details: readonly ErrorDetail[],
): (FailedCommand & AsyncDisposable) | undefined {
  const detail = details.find(({ typeUrl }) => typeUrl === SOLVE);
  if (detail === undefined) return undefined;
  const json = JSON.parse(Buffer.from(detail.value).toString('utf8')) as JsonValue;
  const { op, mountIDs } = fromJson(errdefs.SolveSchema, json, { ignoreUnknownFields: true });
  if (op?.op.case !== 'exec') return undefined;
  const exec = op.op.value;
  const ContainerID = newID();
  let opened: Promise<unknown> | undefined;
  return {
    error,
    args: exec.meta?.args ?? [],
    async start(args, { terminal }) {
      opened ??= bridge.call(newContainer, {
        ...{ ContainerID, Network: exec.network, Mounts: mountsOf(exec.mounts, mountIDs) },
        ...{ hostname: exec.meta?.hostname ?? '', extraHosts: exec.meta?.extraHosts ?? [] },
        ...(op.platform && { platform: op.platform }),
      });
      await opened;
      return await RemoteProcess.start(bridge, initOf(exec, ContainerID, args, terminal));
    },
    async [Symbol.asyncDispose]() {
      if (opened !== undefined) await bridge.call(releaseContainer, { ContainerID }).catch(() => {});
    },
  };
}

const mountsOf = (mounts: readonly Mount[], ids: readonly string[]) =>
  mounts.map((mount, index) => ({ ...mount, resultID: ids[index] ?? '' }));

const initOf = (exec: ExecOp, ContainerID: string, args: readonly string[], Tty: boolean): gateway.InitMessage =>
  create(gateway.InitMessageSchema, {
    ...{ ContainerID, Tty, Fds: [0, 1, 2], Security: exec.security, secretenv: exec.secretenv },
    Meta: create(MetaSchema, { ...(exec.meta ?? create(MetaSchema)), args: [...args] }),
  });

class RemoteProcess implements RunningStep {
  readonly stdout = new PassThrough();
  readonly stderr: PassThrough | undefined;
  readonly stdin: Writable;
  readonly ended: Promise<number>;
  readonly #call: GrpcCall;
  readonly #id = newID();
  readonly #started = Promise.withResolvers<void>();

  private constructor({ http2, headers, signal }: DrivenBuild, terminal: boolean) {
    this.#call = new GrpcCall(http2, pathOf(execProcess.name), headers, signal);
    this.stderr = terminal ? undefined : new PassThrough();
    this.stdin = new Writable({
      write: (Data: Buffer, _encoding, done) => this.#pass({ case: 'File', value: { Fd: 0, Data } }, done),
      final: (done) => this.#pass({ case: 'File', value: { Fd: 0, EOF: true } }, done),
    });
    this.ended = this.#follow();
    this.ended.catch((error: unknown) => this.#started.reject(error));
  }

  /** @throws {TareError} CommandNotFound and others: it did not even begin */
  static async start(bridge: DrivenBuild, init: gateway.InitMessage): Promise<RemoteProcess> {
    const process = new RemoteProcess(bridge, init.Tty);
    await process.#send({ case: 'Init', value: init });
    await process.#started.promise;
    return process;
  }

  signal(number: number): boolean {
    const name = signalNames[number];
    if (name === undefined) return false;
    this.#pass({ case: 'Signal', value: { Name: name } });
    return true;
  }

  async kill(): Promise<void> {
    this.signal(SIGKILL);
  }

  resize(Rows: number, Cols: number): void {
    this.#pass({ case: 'Resize', value: { Rows, Cols } });
  }

  /** What it is told once it has ended is lost. */
  #pass(input: Input, done: (error?: Error | null) => void = () => {}): void {
    this.#send(input).then(
      () => done(),
      () => done(),
    );
  }

  async #send(Input: Input): Promise<void> {
    const message = create(execProcess.input, { ProcessID: this.#id, Input });
    await this.#call.send(toBinary(execProcess.input, message));
  }

  async #follow(): Promise<number> {
    using call = this.#call;
    try {
      let code = UNKNOWN_EXIT;
      for await (const batch of call.batches()) {
        for (const bytes of batch) {
          const { Input: said } = fromBinary(execProcess.output, bytes);
          if (said.case === 'Started') this.#started.resolve();
          else if (said.case === 'File') await this.#write(said.value);
          else if (said.case === 'Exit') code = codeOf(said.value);
          // Some daemons keep the call open for more processes.
          else if (said.case === 'Done') return code;
        }
      }
      return code;
    } finally {
      this.stdout.end();
      this.stderr?.end();
    }
  }

  async #write({ Fd, Data }: gateway.FdMessage): Promise<void> {
    const stream = Fd === 1 ? this.stdout : this.stderr;
    if (Data.length === 0 || stream === undefined || stream.write(Data)) return;
    await new Promise((resolve) => stream.once('drain', resolve).once('close', resolve));
  }
}

/** @throws {TareError} it did not end, but was not begun, or was cut off */
function codeOf({ Code, Error: failure }: gateway.ExitMessage): number {
  if (failure === undefined || Code !== UNKNOWN_EXIT || /^exit code: 255$/.test(failure.message)) return Code;
  const isMissing = /not found|no such file or directory/i.test(failure.message);
  throw new TareError(isMissing ? 'CommandNotFound' : 'Internal', failure.message);
}

const signalNames: Readonly<Record<number, string>> = { 1: 'HUP', 2: 'INT', 3: 'QUIT', [SIGKILL]: 'KILL', 15: 'TERM' };
