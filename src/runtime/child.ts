import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPipe, reapProcess, type SpawnRequest, spawnProcess } from '../linux/index.ts';

/** Enough for any runtime's error; a runtime that says more is cut. */
const OUTPUT_BYTES = 64 * 1024;
const ZOMBIE_WAIT_MS = 1;

/**
 * conmon and the runtimes get a fixed environment: nothing of ours decides how a container starts. UTF-8, because GLib
 * refuses arguments that its locale can't read; UTC, so that log entries are.
 */
export const CHILD_ENVIRONMENT: readonly string[] = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'LC_ALL=C.UTF-8',
  'TZ=UTC',
];

/** The read end of a pipe as a stream; no thread waits for it. */
export function pipeReader(fd: number): Socket {
  return new Socket({ fd, readable: true, writable: false });
}

/**
 * Runs a program to its end.
 *
 * @returns exit code (128 + signal when one ended it) and the start of what it wrote to standard output and error
 * @throws {SyscallError} it can't be executed
 */
export async function runToEnd({
  env = CHILD_ENVIRONMENT,
  descriptors = new Map(),
  ...program
}: Omit<SpawnRequest, 'env'> & { env?: readonly string[] }): Promise<{ exitCode: number; output: string }> {
  const { readFd, writeFd } = openPipe();
  const reader = pipeReader(readFd);
  let pid: number;
  try {
    pid = spawnProcess({
      ...program,
      env,
      descriptors: new Map([...descriptors, [1, writeFd], [2, writeFd]]),
    });
  } catch (error) {
    reader.destroy();
    throw error;
  } finally {
    closeSync(writeFd);
  }
  const output = await readToEnd(reader);
  return { exitCode: await reap(pid), output };
}

function readToEnd(reader: Socket): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    reader.on('data', (chunk: Buffer) => {
      if (bytes < OUTPUT_BYTES) chunks.push(chunk);
      bytes += chunk.length;
    });
    reader.on('error', () => undefined); // 'close' follows
    reader.on('close', () => resolve(Buffer.concat(chunks).toString('utf8', 0, OUTPUT_BYTES)));
  });
}

/** Collects a child whose pipe has closed: it is a zombie already, or will be within microseconds. */
export async function reap(pid: number): Promise<number> {
  for (;;) {
    const status = reapProcess(pid);
    if (typeof status === 'number') return status;
    if (status === 'gone') throw new Error(`process ${pid} was collected by somebody else`);
    await sleep(ZOMBIE_WAIT_MS);
  }
}
