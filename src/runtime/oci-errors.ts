import { TareError } from '../errors/index.ts';

/** What an OCI runtime was asked to do, for the error's words. */
export type RuntimeVerb =
  | 'create'
  | 'start'
  | 'exec'
  | 'delete'
  | 'kill'
  | 'pause'
  | 'resume'
  | 'update'
  | 'state'
  | 'checkpoint'
  | 'restore';

// The words of crun 1.8 to 1.21, runc 1.0 to 1.3 and runsc for a program that is not there.
const NOT_FOUND = [
  /executable file [`'"]?.*?[`'"]? ?not found in \$?PATH/i,
  /exec: ".*?": stat .*?: no such file or directory/i,
  /(?:open executable|container process `.*?`): no such file or directory/i,
  /error finding executable/i,
];

// … and for one that is there and can't be run.
const NOT_RUNNABLE = [
  [/is a directory/i, 'is a directory'],
  [/open executable: operation not permitted/i, 'not a regular file'],
  [/(?:open executable|exec: ".*?"|container process|chdir.*?): permission denied/i, 'permission denied'],
  [/(?:open executable|exec: ".*?"|stat .*?|chdir.*?): not a directory/i, 'not a directory'],
  [/exec format error/i, 'exec format error'],
] as const;

// … and for a container that is not there, or has ended.
const NO_SUCH_CONTAINER = [
  /(?:container|file) .*does not exist|loading container: .*not exist/i,
  /(?:cannot open directory|error opening file) .*: no such file or directory/i,
  /no such process|not running/i,
];

/**
 * What a runtime said, without its decoration: the message of the last line, which may be logrus text
 * (`time=… level=error msg="…"`), logrus or crun JSON (`{"msg": …}`), or plain.
 */
export function runtimeMessage(output: string): string {
  const messages = output
    .split('\n')
    .map((line) => plainMessage(line.trim()))
    .filter((line) => line !== '');
  return messages.at(-1) ?? '';
}

function plainMessage(line: string): string {
  if (line.startsWith('{')) {
    try {
      const parsed: unknown = JSON.parse(line);
      if (typeof parsed === 'object' && parsed !== null && 'msg' in parsed) return String(parsed.msg);
    } catch {
      return line;
    }
  }
  const quoted = /\bmsg=("(?:[^"\\]|\\.)*")/.exec(line);
  if (quoted === null) return line;
  try {
    return String(JSON.parse(quoted[1]!));
  } catch {
    return quoted[1]!;
  }
}

/**
 * The error for a runtime that failed.
 *
 * @param output what it wrote to its standard error
 * @param program the program it was to run, when it was to run one
 */
export function runtimeError(verb: RuntimeVerb, runtime: string, output: string, program?: string): TareError {
  const message = runtimeMessage(output) || `${runtime} ${verb} ended without a word`;
  if (program !== undefined) {
    const prefix = `OCI runtime ${verb} failed: ${verb} failed: unable to start container process: exec: ${JSON.stringify(program)}:`;
    if (NOT_FOUND.some((words) => words.test(message))) {
      const what = program.includes('/')
        ? `stat ${program}: no such file or directory`
        : 'executable file not found in $PATH';
      return new TareError('CommandNotFound', `${prefix} ${what}`);
    }
    const reason = NOT_RUNNABLE.find(([words]) => words.test(message))?.[1];
    if (reason !== undefined) return new TareError('NotExecutable', `${prefix} ${notRunnable(reason, message)}`);
  }
  if (NO_SUCH_CONTAINER.some((words) => words.test(message))) {
    return new TareError('Conflict', `OCI runtime ${verb} failed: ${message}`);
  }
  return new TareError('Internal', `OCI runtime ${verb} failed: ${message}`);
}

function notRunnable(reason: string, message: string): string {
  if (/chdir/i.test(message)) return message; // the working folder's fault, in the runtime's own words
  return reason === 'is a directory' || reason === 'not a regular file' ? `${reason}: permission denied` : reason;
}
