import type { Readable, Writable } from 'node:stream';
import type { OciProcess } from './oci-spec.ts';

/** An OCI runtime as configured. */
export interface RuntimeBinary {
  name: string;
  path: string;
  args: string[];
}

export interface CreateRequest {
  id: string;
  /** Bundle folder: holds config.json; conmon's attach, ctl and winsz are made there. */
  bundle: string;
  runtime: RuntimeBinary;
  terminal: boolean;
  /** Keep the container's standard input open for attached clients. */
  stdin: boolean;
  /** Close standard input when the first attached client leaves (docker's StdinOnce). */
  stdinOnce: boolean;
  /**
   * Its first process is not root. crun gives the standard streams to the container's user, so without input it gets a
   * pipe that is ended (see `CreatedContainer`) instead of the host's /dev/null, which it could then change for everybody.
   */
  unprivileged: boolean;
  /** k8s-file log; undefined: no log is kept. */
  logPath?: string;
  /** conmon's truncating backstop; 0: none. */
  logMaxBytes: number;
  /** conmon writes the exit code to `exitDir/id`. */
  exitDir: string;
  /** conmon leaves an `oom` file here. */
  persistDir: string;
  /** Run by conmon after the exit file is written. */
  exitCommand: string[];
  /** Take up from a checkpoint instead: it runs as soon as it is created, and is not started. */
  restore?: {
    /** Folder of CRIU's images. */
    images: string;
    tcpEstablished: boolean;
  };
}

export interface CheckpointRequest {
  id: string;
  bundle: string;
  runtime: RuntimeBinary;
  /** An empty folder of ours for CRIU's images. */
  images: string;
  /** Keep open TCP connections, else a container that has some is refused. */
  tcpEstablished: boolean;
}

/** A process, told apart from a later one with the same pid. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat. */
  startTicks: number;
}

export interface ExecRequest {
  containerId: string;
  execId: string;
  /** Folder of this exec alone: process.json, attach sockets, exit file. */
  directory: string;
  runtime: RuntimeBinary;
  /** OCI `process` object. */
  process: unknown;
  terminal: boolean;
  stdin: boolean;
  /** As in `CreateRequest`. */
  unprivileged: boolean;
  /** Connect to it before it runs, so that no output is lost. */
  attach: boolean;
}

/** A short program in a running container, run to its end. */
export interface InsideRequest {
  containerId: string;
  runtime: RuntimeBinary;
  /** Folder of its files; one at a time runs with it. It is made when it is not there, and stays. */
  directory: string;
  process: OciProcess;
  /** Then it is killed. */
  timeoutMs: number;
  /** So much of its output is kept; the rest is read and dropped. */
  outputBytes: number;
}

export interface InsideEnd {
  /** It was killed because its time was over. */
  isLate: boolean;
  /** 128 + signal when one ended it. */
  exitCode: number;
  /** Of both streams, in the order written. */
  output: Uint8Array;
}

/** How a process that we stay with is started. */
export interface AttendedRequest {
  runtime: RuntimeBinary;
  /** Of its files, which nobody else's share: a bundle for a container. */
  directory: string;
  /** A terminal of its own, which takes crun; `process.terminal` says the same. */
  terminal: boolean;
  /** Whether something is written to its standard input; else that has ended. */
  stdin: boolean;
}

/** A container that lives as long as somebody waits for it: no monitor, no log. `directory` is its bundle. */
export interface RunRequest extends AttendedRequest {
  id: string;
  /** What it runs, for errors' texts. */
  program: string;
  /** Descriptors that stay open as long as the container runs, also when we die: locks on what it has mounted. It does not get them itself. */
  held?: readonly number[];
}

/** A further process in such a container. */
export interface EnterRequest extends AttendedRequest {
  containerId: string;
  process: OciProcess;
}

/** A process that we stay with, and what it says. The streams are the caller's to read or to destroy: who does neither holds it up. */
export interface AttendedProcess {
  /** With a terminal, of both. */
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
  readonly stdin: Writable | undefined;
  /**
   * Its exit code (128 + signal), once the runtime has cleared away behind it. What it wrote may still be unread.
   * @throws {TareError} CommandNotFound, NotExecutable: it could not be run; Internal with the runtime's message
   */
  readonly ended: Promise<number>;
  /**
   * Once the runtime has recorded it, as `enter` needs it: the program runs before that.
   * @returns undefined: it has ended
   */
  identity(): Promise<ProcessIdentity | undefined>;
  /** @returns false: there is nothing to signal (yet) */
  signal(number: number): boolean;
  /** SIGKILL, as soon as there is something to kill; with a container's first process all of its processes go. Then it ends. */
  kill(): Promise<void>;
  /** Does nothing without a terminal. */
  resize(rows: number, columns: number): void;
}

export interface StartedExec {
  process: ProcessIdentity;
  /** With `attach`. */
  stream?: AttachStream;
}

export interface OutputPiece {
  stream: 'stdout' | 'stderr';
  chunk: Uint8Array;
  /** Gives the chunk's memory back, to be written over. Nobody has to; at most once. */
  release?(): void;
}

/** The two-way stream of an attached container or exec. Never stops reading from conmon without need. */
export interface AttachStream extends AsyncDisposable {
  /** Chunks in the order conmon sent them; ends when the container's output is closed or on dispose. */
  output: AsyncIterable<OutputPiece>;
  write(chunk: Uint8Array): Promise<void>;
  /** Half-close: end of standard input. */
  closeStdin(): void;
  /**
   * Ends the output for its reader, but stays connected until the process's output ends: for a client whose going the
   * monitor would take for the end of the process's input.
   */
  abandon(): void;
}

export interface CreatedContainer {
  container: ProcessIdentity;
  monitor: ProcessIdentity;
  /**
   * Nobody will write to it: the caller ends its input before the start, by a stream that it attaches, or by `endInput` if there is none.
   * Two connections would be one too many: conmon accepts one each time it looks.
   */
  endsInput: boolean;
}

export interface Runtime {
  /** Runs conmon, which runs `RUNTIME create`. @throws {TareError} CommandNotFound, NotExecutable or Internal with the runtime's own message */
  create(request: CreateRequest): Promise<CreatedContainer>;
  /** `RUNTIME start`. @throws {TareError} CommandNotFound, NotExecutable: the program could not be run */
  start(id: string, runtime: RuntimeBinary): Promise<void>;
  /**
   * Succeeds when it has ended already.
   *
   * @param process the container's first process; when given, and the runtime's containers are processes of this kernel,
   *   it is signalled directly, otherwise through the runtime
   */
  kill(id: string, runtime: RuntimeBinary, signal: number, process?: ProcessIdentity): Promise<void>;
  /** Removes what the runtime keeps of a stopped container; succeeds when there is nothing. @param force kill it first */
  delete(id: string, runtime: RuntimeBinary, force: boolean): Promise<void>;
  /** @throws {TareError} Unsupported: this runtime can neither checkpoint nor restore */
  requireCheckpoints(runtime: RuntimeBinary): Promise<void>;
  /**
   * Writes the state of a container's processes to a folder; it goes on.
   * @throws {TareError} Unavailable: no CRIU; Internal with CRIU's own message
   */
  checkpoint(request: CheckpointRequest): Promise<void>;
  pause(id: string, runtime: RuntimeBinary): Promise<void>;
  resume(id: string, runtime: RuntimeBinary): Promise<void>;
  update(id: string, runtime: RuntimeBinary, resources: unknown): Promise<void>;
  /** Writes `process.json` into the exec's folder and runs it. @throws {TareError} as `create` does */
  exec(request: ExecRequest): Promise<StartedExec>;
  /**
   * The exit code, once it has ended.
   *
   * @throws {TareError} Unavailable: its conmon was killed, so nobody knows
   * @throws AbortError: the runtime was disposed first, and the exec goes on
   */
  waitExec(directory: string, execId: string, process: ProcessIdentity): Promise<number>;
  /**
   * Runs a program in a container without a monitor, for less than half the processor time of `exec`: whoever dies before its end
   * learns nothing of it, and what was left running ends when the next one starts in the same folder.
   *
   * @throws {TareError} CommandNotFound, NotExecutable, Conflict: the container has ended; Internal with the runtime's message
   */
  runInside(request: InsideRequest): Promise<InsideEnd>;
  /**
   * Runs a container without a monitor from beginning to end. Who dies meanwhile leaves it running: it is found by its bundle, its id and
   * its cgroup, and `delete` by force ends it.
   */
  run(request: RunRequest): Promise<AttendedProcess>;
  /** Runs a further process in it, which does not outlive it. Its first one's `identity` is known before. */
  enter(request: EnterRequest): Promise<AttendedProcess>;
  /** @param directory a bundle or an exec's folder */
  attach(directory: string): Promise<AttachStream>;
  /**
   * Waits until those who attached are taken in: conmon accepts one each time it looks, and what the program says meanwhile
   * is lost to the others.
   */
  attached(): Promise<void>;
  /** Ends the input of a container or exec that nobody is attached to. @param directory a bundle or an exec's folder */
  endInput(directory: string): Promise<void>;
  resize(directory: string, rows: number, columns: number): Promise<void>;
  /** Makes conmon reopen its log file after a rotation. */
  reopenLog(bundle: string): Promise<void>;
}
