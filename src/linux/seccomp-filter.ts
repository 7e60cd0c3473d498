import { closeSync, fstatSync, readSync } from 'node:fs';
import koffi from 'koffi';
import { check, libc } from './ffi.ts';

/** A seccomp rule set, spelled as in the OCI runtime spec (config-linux.md, "Seccomp"). */
export interface SeccompRules {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  syscalls?: readonly {
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: readonly { index: number; value: number | bigint; valueTwo?: number | bigint; op: string }[];
  }[];
}

const actions: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

/** Actions whose low 16 bits are the rule's error number. */
const withErrno = new Set(['SCMP_ACT_ERRNO', 'SCMP_ACT_TRACE']);

const operators = ['NE', 'LT', 'LE', 'EQ', 'GE', 'GT', 'MASKED_EQ'].map((name) => `SCMP_CMP_${name}`);

const EPERM = 1;
const EEXIST = 17;
const noSuchSyscall = -1;
const maxArguments = 6;

interface Libseccomp {
  init(action: number): unknown;
  release(context: unknown): void;
  resolveArchitecture(name: string): number;
  addArchitecture(context: unknown, token: number): number;
  resolveSyscall(name: string): number;
  addRule(context: unknown, action: number, syscall: number, count: number, compares: Buffer): number;
  export(context: unknown, fd: number): number;
}

let library: Libseccomp | null | undefined;

/** libseccomp, loaded at first use; null where the host has none. */
function libseccomp(): Libseccomp | null {
  if (library !== undefined) return library;
  let handle: ReturnType<typeof koffi.load>;
  try {
    handle = koffi.load('libseccomp.so.2');
  } catch {
    library = null;
    return library;
  }
  library = {
    init: handle.func('void *seccomp_init(uint32_t action)'),
    release: handle.func('void seccomp_release(void *context)'),
    resolveArchitecture: handle.func('uint32_t seccomp_arch_resolve_name(const char *name)'),
    addArchitecture: handle.func('int seccomp_arch_add(void *context, uint32_t token)'),
    resolveSyscall: handle.func('int seccomp_syscall_resolve_name(const char *name)'),
    addRule: handle.func(
      'int seccomp_rule_add_array(void *context, uint32_t action, int syscall, unsigned int count, void *compares)',
    ),
    export: handle.func('int seccomp_export_bpf(void *context, int fd)'),
  };
  return library;
}

/**
 * The BPF program of a rule set, as the kernel takes it (struct sock_filter, 8 bytes each): instruction by instruction
 * what crun makes of the same rules. Takes about 10 ms for a distribution's default profile.
 *
 * Names that this libseccomp does not know are left out, as runtimes do: a kernel that old lacks the call too.
 *
 * @returns undefined: the host has no libseccomp, or only a runtime can set up such rules (SCMP_ACT_NOTIFY)
 * @throws {RangeError} a rule that libseccomp refuses
 */
export function compileSeccompFilter(rules: SeccompRules): Buffer | undefined {
  const compiler = libseccomp();
  if (compiler === null) return undefined;
  const all = [rules.defaultAction, ...(rules.syscalls ?? []).map(({ action }) => action)];
  if (!all.every((action) => action in actions)) return undefined;
  const defaultAction = actionNumber(rules.defaultAction, rules.defaultErrnoRet);
  const context = compiler.init(defaultAction);
  if (context === null) throw new RangeError(`seccomp_init: ${rules.defaultAction} refused`);
  try {
    addArchitectures(compiler, context, rules.architectures ?? []);
    for (const rule of rules.syscalls ?? []) {
      const action = actionNumber(rule.action, rule.errnoRet);
      // libseccomp refuses a rule that says what the default says.
      if (action !== defaultAction) addRule(compiler, context, action, rule);
    }
    return exportProgram(compiler, context);
  } finally {
    compiler.release(context);
  }
}

function actionNumber(name: string, errnoRet = EPERM): number {
  return withErrno.has(name) ? actions[name]! | (errnoRet & 0xffff) : actions[name]!;
}

function addArchitectures(compiler: Libseccomp, context: unknown, names: readonly string[]): void {
  for (const name of names) {
    const token = compiler.resolveArchitecture(name.replace(/^SCMP_ARCH_/, '').toLowerCase());
    if (token === 0) throw new RangeError(`seccomp: unknown architecture ${JSON.stringify(name)}`);
    const result = compiler.addArchitecture(context, token);
    if (result !== 0 && result !== -EEXIST) throw new RangeError(`seccomp_arch_add ${name}: error ${-result}`);
  }
}

type Rule = NonNullable<SeccompRules['syscalls']>[number];

function addRule(compiler: Libseccomp, context: unknown, action: number, rule: Rule): void {
  const args = rule.args ?? [];
  if (args.length > maxArguments || args.some(({ index }) => index >= maxArguments)) {
    throw new RangeError(`seccomp: a system call has ${maxArguments} arguments`);
  }
  // Several conditions on one argument are alternatives, each a rule of its own; else all must hold.
  const isAlternative = new Set(args.map(({ index }) => index)).size < args.length;
  const conditions = isAlternative ? args.map((arg) => [arg]) : [args];
  for (const name of rule.names) {
    const syscall = compiler.resolveSyscall(name);
    if (syscall === noSuchSyscall) continue;
    for (const condition of conditions) {
      const result = compiler.addRule(context, action, syscall, condition.length, compares(condition));
      if (result !== 0) throw new RangeError(`seccomp_rule_add_array ${name}: error ${-result}`);
    }
  }
}

/** An array of struct scmp_arg_cmp: argument, operator, two operands. */
function compares(args: NonNullable<Rule['args']>): Buffer {
  const buffer = Buffer.alloc(Math.max(1, args.length) * 24);
  args.forEach(({ index, op, value, valueTwo = 0 }, position) => {
    const at = position * 24;
    buffer.writeUInt32LE(index, at);
    buffer.writeUInt32LE(operators.indexOf(op) + 1, at + 4);
    buffer.writeBigUInt64LE(BigInt(value), at + 8);
    buffer.writeBigUInt64LE(BigInt(valueTwo), at + 16);
  });
  return buffer;
}

const memfdCreate = libc.func('int memfd_create(const char *name, unsigned int flags)');
const MFD_CLOEXEC = 1;

function exportProgram(compiler: Libseccomp, context: unknown): Buffer {
  const fd = check(memfdCreate('seccomp', MFD_CLOEXEC), 'memfd_create');
  try {
    const result = compiler.export(context, fd);
    if (result !== 0) throw new RangeError(`seccomp_export_bpf: error ${-result}`);
    const program = Buffer.alloc(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}
