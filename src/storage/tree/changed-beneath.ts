import { SyscallError } from '../../linux/index.ts';

const codes: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EEXIST', 'EINVAL', 'ENOTEMPTY']);

/** Whether a system call failed as it does when a process in a tree did something between two of ours. */
export const isChangedBeneath = (error: unknown): boolean => error instanceof SyscallError && codes.has(error.code);
