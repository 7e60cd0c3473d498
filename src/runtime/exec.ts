import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';
import { isProcessAlive } from '../linux/index.ts';
import { attachTo, endInput } from './attach-stream.ts';
import { ConmonStart, execArgs, getsEndedInput, identify, type SyncReader } from './conmon.ts';
import { readExit, watchExits } from './exits.ts';
import { runtimeError } from './oci-errors.ts';
import type { ExecRequest, ProcessIdentity, StartedExec } from './runtime.ts';

const LOOK_MS = 250;
const MISSED_LOOKS = 4;

/** Starts execs and learns how they end. */
export class ExecStarter implements Disposable {
  readonly #conmonPath: string;
  readonly #execRoot: string;
  // An exec's conmon says the exit code on its sync pipe: quicker than the exit file, which is there for everybody else.
  readonly #pipes = new Map<string, SyncReader>();
  readonly #closed = new AbortController();

  constructor(conmonPath: string, execRoot: string) {
    this.#conmonPath = conmonPath;
    this.#execRoot = execRoot;
  }

  async start(request: ExecRequest): Promise<StartedExec> {
    const { directory } = request;
    mkdirSync(join(directory, 'exit'), { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, 'process.json'), JSON.stringify(request.process), { mode: 0o600 });
    await using cleanup = new AsyncDisposableStack();
    const conmon = new ConmonStart(execArgs(request, request.attach), {
      conmonPath: this.#conmonPath,
      execRoot: this.#execRoot,
      runtime: request.runtime,
      waits: request.attach,
    });
    cleanup.use(conmon);
    cleanup.defer(() => conmon.reapLauncher());
    const started: StartedExec = { process: { pid: 0, startTicks: 0 } };
    if (request.attach) {
      await conmon.sync.next(); // its socket listens
      started.stream = cleanup.use(await attachTo(directory));
      if (getsEndedInput(request)) started.stream.closeStdin();
      conmon.release();
    }
    const { value: pid, message } = await conmon.sync.next();
    if (pid <= 0) throw runtimeError('exec', request.runtime.name, message, programOf(request.process));
    started.process = identify(pid).process;
    conmon.sync.keepAlive(false);
    this.#pipes.set(directory, conmon.sync);
    await conmon.reapLauncher();
    if (!request.attach && getsEndedInput(request)) await endInput(directory);
    cleanup.move(); // the pipe stays open for the exit code, the stream for the caller
    return started;
  }

  async wait(directory: string, execId: string, process: ProcessIdentity): Promise<number> {
    const pipe = this.#pipes.get(directory);
    if (pipe !== undefined) {
      try {
        pipe.keepAlive(true);
        return (await pipe.next()).value;
      } catch {
        // conmon was killed: the exit file, if there is one, decides.
      } finally {
        this.#pipes.delete(directory);
        pipe.close();
      }
    }
    this.#closed.signal.throwIfAborted();
    return await waitForExitFile(directory, execId, process, this.#closed.signal);
  }

  [Symbol.dispose](): void {
    this.#closed.abort();
    for (const pipe of this.#pipes.values()) pipe.close();
    this.#pipes.clear();
  }
}

/** For an exec that another process of ours started, or one whose conmon was killed. */
async function waitForExitFile(
  directory: string,
  execId: string,
  process: ProcessIdentity,
  closed: AbortSignal,
): Promise<number> {
  const exitDir = join(directory, 'exit');
  const ended = new AbortController();
  let missed = 0;
  // The process ends a moment before conmon writes; only when it was gone at several looks will nobody write any more.
  const look = setInterval(() => {
    missed = isProcessAlive(process.pid, process.startTicks) ? 0 : missed + 1;
    if (missed > MISSED_LOOKS) ended.abort();
  }, LOOK_MS);
  try {
    for await (const name of watchExits(exitDir, AbortSignal.any([ended.signal, closed]))) {
      const exitCode = readExit(exitDir, name);
      if (exitCode !== undefined) return exitCode;
    }
  } finally {
    clearInterval(look);
  }
  closed.throwIfAborted();
  throw new TareError('Unavailable', `exec ${execId}: its monitor was killed, so its exit code is unknown`);
}

function programOf(process: unknown): string {
  const args = typeof process === 'object' && process !== null && 'args' in process ? process.args : undefined;
  return Array.isArray(args) ? String(args[0] ?? '') : '';
}
