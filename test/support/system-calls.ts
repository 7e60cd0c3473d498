/** An argument, as far as strace says more of it than its text. */
export interface CallArgument {
  text: string;
  /** A descriptor, and the path it had. */
  fd?: number;
  path?: string;
  /** A string, whole; `string` reads it as a path. */
  bytes?: Buffer;
  string?: string;
}

export interface SystemCall {
  name: string;
  args: CallArgument[];
  /** -1: it failed. */
  result: number;
  /** Path of the descriptor that it returned. */
  resultPath: string | undefined;
  line: string;
}

/** For strace: all threads and children, paths of descriptors, and every byte of every string, in hex. */
export const traceFlags = ['-f', '--seccomp-bpf', '-y', '-xx', '-s', '16000000'];

/** The calls that files are changed with, and those that a follower must know about or refuse. */
export const tracedCalls = [
  ...['open', 'openat', 'openat2', 'creat', 'lseek', 'write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'ftruncate'],
  ...[
    'truncate',
    'fallocate',
    'copy_file_range',
    'sendfile',
    'splice',
    'mkdir',
    'mkdirat',
    'rmdir',
    'unlink',
    'unlinkat',
  ],
  ...[
    'rename',
    'renameat',
    'renameat2',
    'link',
    'linkat',
    'symlink',
    'symlinkat',
    'mknod',
    'mknodat',
    'fsync',
    'fdatasync',
  ],
  ...[
    'syncfs',
    'sync',
    'chmod',
    'fchmod',
    'fchmodat',
    'fchmodat2',
    'chown',
    'lchown',
    'fchown',
    'fchownat',
    'utimensat',
  ],
  ...['setxattr', 'lsetxattr', 'fsetxattr'],
];

/** Reads what `strace -o` wrote with `traceFlags`: calls in the order in which they ended. */
export function* systemCalls(trace: string): Generator<SystemCall, void, void> {
  const begun = new Map<string, string>();
  for (const line of trace.split('\n')) {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const unfinished = text.indexOf(' <unfinished ...>');
    if (unfinished !== -1) {
      begun.set(thread, text.slice(0, unfinished));
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
    const whole = resumed === null ? text : (begun.get(thread) ?? '') + resumed[1]!;
    if (resumed !== null) begun.delete(thread);
    const call = parseCall(whole);
    if (call !== undefined) yield call;
  }
}

function parseCall(line: string): SystemCall | undefined {
  const open = line.indexOf('(');
  const close = line.lastIndexOf(') ');
  const match = /^\) += (-?\d+)(?:<((?:\\x[0-9a-f]{2})*)>)?/.exec(line.slice(close));
  if (open === -1 || match === null) return undefined;
  return {
    name: line.slice(0, open),
    args: split(line.slice(open + 1, close)).map(parseArgument),
    result: Number(match[1]),
    resultPath: match[2] === undefined ? undefined : unhex(match[2]).toString(),
    line,
  };
}

/** At the commas outside of brackets: strings are hex, and have none. */
function split(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if ('([{'.includes(char)) depth += 1;
    else if (')]}'.includes(char)) depth -= 1;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)].map((part) => part.trim());
}

function parseArgument(text: string): CallArgument {
  const descriptor = /^(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>(\(deleted\))?$/.exec(text);
  if (descriptor !== null) {
    const [, fd, path = '', isDeleted] = descriptor;
    const number = fd === 'AT_FDCWD' ? -100 : Number(fd);
    return { text, fd: number, ...(isDeleted === undefined ? { path: unhex(path).toString() } : {}) };
  }
  const quoted = [...text.matchAll(/"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g)];
  if (quoted.length === 0) return /^\d+$/.test(text) ? { text, fd: Number(text) } : { text };
  if (quoted.some(([, , more]) => more !== undefined))
    throw new Error(`strace cut a string short: ${text.slice(0, 200)}`);
  const bytes = Buffer.concat(quoted.map(([, hex]) => unhex(hex!)));
  return { text, bytes, string: bytes.toString() };
}

const unhex = (text: string): Buffer => Buffer.from(text.replaceAll('\\x', ''), 'hex');
