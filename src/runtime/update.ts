import { unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runRuntime } from './oci-runtime.ts';
import type { RuntimeBinary } from './runtime.ts';

let updates = 0;

/**
 * `RUNTIME update`.
 *
 * @param resources the OCI `linux.resources` object, only with what changes
 */
export async function updateResources(
  execRoot: string,
  id: string,
  runtime: RuntimeBinary,
  resources: unknown,
): Promise<void> {
  updates += 1;
  const path = join(execRoot, 'runtimes', `update-${process.pid}-${updates}.json`);
  writeFileSync(path, JSON.stringify(resources), { mode: 0o600, flag: 'wx' });
  try {
    await runRuntime(execRoot, runtime, 'update', ['--resources', path, id]);
  } finally {
    unlinkSync(path);
  }
}
