import { existsSync, readdirSync } from 'node:fs';
import type { EngineParts } from '../parts.ts';
import { builderFolders } from './builds.ts';

/** Ends steps of builds whose process has died, and removes what they left. The builder is loaded only when there may be some. */
export async function reconcileBuilds(parts: EngineParts): Promise<void> {
  const { execDirectory } = builderFolders(parts.config);
  if (!existsSync(execDirectory) || !readdirSync(execDirectory).some((name) => name.startsWith('step'))) return;
  const { reconcileSteps } = await import('../../build/index.ts');
  const { locks, layers, runtime } = parts;
  await reconcileSteps({
    ...{ execDirectory, locks, layers, runtime },
    runtimeBinary: () => parts.runtimeFor(''),
    report: (subject, error) => parts.onError(subject, error),
  });
}
