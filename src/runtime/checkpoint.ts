import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { messageOf, TareError } from '../errors/index.ts';
import { CHILD_ENVIRONMENT, runToEnd } from './child.ts';
import { runRuntime } from './oci-runtime.ts';
import type { CheckpointRequest, RuntimeBinary } from './runtime.ts';

/** Of CRIU's log only the end is read: the error is there. */
const LOG_TAIL_BYTES = 64 * 1024;

/** Where CRIU writes its logs, beside a container's bundle. */
const workFolder = (bundle: string): string => join(bundle, 'criu');

/**
 * The environment of a runtime that runs CRIU, which runc and crun look up by its name.
 * @param criuPath a program named `criu`; undefined: the one on the usual path
 */
export function criuEnvironment(criuPath: string | undefined): readonly string[] {
  if (criuPath === undefined) return CHILD_ENVIRONMENT;
  return CHILD_ENVIRONMENT.map((entry) =>
    entry.startsWith('PATH=') ? `PATH=${dirname(criuPath)}:${entry.slice('PATH='.length)}` : entry,
  );
}

/**
 * Whether a runtime can checkpoint and restore. runc always can, crun where it was built so; of others nobody knows that they give
 * back what they took.
 *
 * @throws {TareError} Unsupported
 */
export async function requireCheckpoints(runtime: RuntimeBinary): Promise<void> {
  const program = basename(runtime.path);
  if (program === 'runc') return;
  let why = 'it has no checkpoint and restore that this engine knows';
  if (program === 'crun') {
    const { output } = await runToEnd({ path: runtime.path, args: ['--version'] });
    if (/\+CRIU\b/.test(output)) return;
    why = 'it was built without CRIU';
  }
  throw new TareError(
    'Unsupported',
    `OCI runtime ${runtime.name} (${runtime.path}) cannot checkpoint or restore a container: ${why}; create the container with --runtime runc`,
  );
}

/** @see Runtime.checkpoint */
export async function checkpoint(
  execRoot: string,
  criuPath: string | undefined,
  request: CheckpointRequest,
): Promise<void> {
  const work = workFolder(request.bundle);
  mkdirSync(work, { recursive: true, mode: 0o700 });
  const args = ['--image-path', request.images, '--work-path', work, '--leave-running', ...restoreOptions(request)];
  try {
    await runRuntime(execRoot, request.runtime, 'checkpoint', [...args, request.id], criuEnvironment(criuPath));
  } catch (error) {
    throw criuError(error, join(work, 'dump.log'));
  }
}

/** What a checkpoint and its restore must both be told. */
export const restoreOptions = ({ tcpEstablished }: { tcpEstablished: boolean }): string[] => [
  '--file-locks',
  ...(tcpEstablished ? ['--tcp-established'] : []),
];

/** @returns the error with what CRIU says of it */
export function criuError(error: unknown, logPath: string): unknown {
  if (/criu.*executable file not found/i.test(messageOf(error))) {
    const remedy = 'install the package criu, or name the program by the configuration key criu-path';
    return new TareError('Unavailable', `CRIU was not found: ${remedy}`, { cause: error });
  }
  const reason = lastError(logPath);
  return reason === undefined ? error : new TareError('Internal', `${messageOf(error)}: ${reason}`, { cause: error });
}

function lastError(logPath: string): string | undefined {
  let fd: number;
  try {
    fd = openSync(logPath, 'r');
  } catch {
    return undefined; // CRIU was not reached
  }
  try {
    const { size } = fstatSync(fd);
    const tail = Buffer.alloc(Math.min(size, LOG_TAIL_BYTES));
    const length = readSync(fd, tail, 0, tail.length, size - tail.length);
    // The first error of several is the cause; the later ones tell how it went on. That a limit cannot be raised stops nothing.
    const line = tail
      .toString('utf8', 0, length)
      .split('\n')
      .find((text) => text.includes('Error (') && !text.includes('): rlimit: '));
    return line?.replace(/^\([\d.]+\)\s*(\d+:\s*)?/, '').trim();
  } finally {
    closeSync(fd);
  }
}
