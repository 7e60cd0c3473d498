import { TareError } from '../../errors/index.ts';
import { hasCgroup } from '../container-cgroup.ts';
import type { EngineParts } from '../parts.ts';
import type { ContainerRecord } from '../types.ts';

/**
 * Whether this engine and a container's runtime can checkpoint and restore it.
 * @throws {TareError} Unsupported: names what cannot, and the remedy
 */
export async function requireCheckpointable(
  parts: Pick<EngineParts, 'config' | 'runtime' | 'runtimeFor'>,
  { name, config, host }: ContainerRecord,
): Promise<void> {
  if (!hasCgroup(parts)) {
    throw new TareError(
      'Unsupported',
      `cannot checkpoint container ${name}: CRIU needs root, and this engine runs without`,
    );
  }
  if (config.tty) throw new TareError('Unsupported', 'checkpoint not supported on containers with tty');
  await parts.runtime.requireCheckpoints(parts.runtimeFor(host.runtime));
}
