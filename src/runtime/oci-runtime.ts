import { join } from 'node:path';
import { kindOf, TareError } from '../errors/index.ts';
import { SyscallError } from '../linux/index.ts';
import { runToEnd } from './child.ts';
import { type RuntimeVerb, runtimeError } from './oci-errors.ts';
import type { RuntimeBinary } from './runtime.ts';
import { runtimeProgram } from './runtime-program.ts';

const RUNTIME_FD = 3;

/** Arguments before the verb: the runtime's own, then the folder of its state, apart for each engine. */
export function runtimeArgs(execRoot: string, runtime: RuntimeBinary): string[] {
  return [...runtime.args, '--root', join(execRoot, 'runtimes', runtime.name)];
}

/**
 * Whether the pid that the runtime reports is the container's own first process, so that a signal to it is a signal to
 * the container. Not so for sandboxes such as runsc or kata.
 */
export function runsOnHostKernel(runtime: RuntimeBinary): boolean {
  return ['crun', 'runc', 'youki'].includes(runtime.path.slice(runtime.path.lastIndexOf('/') + 1));
}

/** Runs `RUNTIME … VERB …` and turns its failure into an error. */
export async function runRuntime(
  execRoot: string,
  runtime: RuntimeBinary,
  verb: RuntimeVerb,
  args: readonly string[],
  env?: readonly string[],
): Promise<string> {
  const words = [...runtimeArgs(execRoot, runtime), verb, ...args];
  const { path, descriptors } = runtimeProgram(runtime.path, RUNTIME_FD);
  const request = { path, name: runtime.path, args: words, descriptors: new Map(descriptors), ...(env && { env }) };
  const { exitCode, output } = await runToEnd(request).catch((error: unknown) => {
    throw runtimeUnavailable(runtime, error);
  });
  if (exitCode !== 0) throw runtimeError(verb, runtime.name, output);
  return output;
}

/** @returns the error to show when the runtime's own binary can't be run */
export function runtimeUnavailable(runtime: RuntimeBinary, error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  return new TareError('Unavailable', `OCI runtime ${runtime.name}: can't run ${runtime.path} (${error.code})`, {
    cause: error,
  });
}

/** Whether a runtime refused because the container is not there, which for a removal is success. */
export const isAlreadyGone = (error: unknown): boolean => kindOf(error) === 'Conflict';
