import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { endCgroup } from '../../linux/index.ts';
import type { BuilderParts } from '../builder-parts.ts';
import { removeStepFolder } from './step-folder.ts';

const STEP = /^step[0-9a-f]{28}$/;

/**
 * Ends steps whose process died in the middle, and removes what they left: containers, cgroups, mounts, secrets. Their snapshots are
 * the layer store's to remove, their networks the network service's. Safe beside other processes: what lives is locked.
 */
export async function reconcileSteps(
  parts: Pick<BuilderParts, 'execDirectory' | 'locks' | 'layers' | 'runtime' | 'runtimeBinary' | 'report'>,
): Promise<void> {
  for (const id of existsSync(parts.execDirectory) ? readdirSync(parts.execDirectory) : []) {
    if (!STEP.test(id)) continue;
    using lock = parts.locks.tryAcquire(`container:${id}`);
    if (lock === undefined) continue;
    try {
      await removeStep(parts, id);
    } catch (error) {
      parts.report(`step ${id} of a build`, error);
    }
  }
}

async function removeStep(
  { execDirectory, layers, runtime, runtimeBinary }: Parameters<typeof reconcileSteps>[0],
  id: string,
): Promise<void> {
  const directory = join(execDirectory, id);
  await runtime.delete(id, runtimeBinary(), true);
  const cgroup = cgroupOf(directory);
  if (cgroup?.endsWith(`/${id}`)) await endCgroup(cgroup);
  for (const key of await layers.snapshots()) if (key.startsWith(`${id}.`)) await layers.remove(key);
  removeStepFolder(directory);
}

/** undefined: the step was never so far that it had one. */
function cgroupOf(bundle: string): string | undefined {
  try {
    const { linux }: { linux?: { cgroupsPath?: unknown } } = JSON.parse(
      readFileSync(join(bundle, 'config.json'), 'utf8'),
    );
    return typeof linux?.cgroupsPath === 'string' ? linux.cgroupsPath : undefined;
  } catch {
    return undefined;
  }
}
