import type { ImageMount } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';

/** Mounts images, one after the other; `told` of each as it is done. */
export async function mountImages(
  globals: GlobalValues,
  refs: readonly string[],
  told: (mount: ImageMount) => void,
): Promise<void> {
  await using engine = await openEngineHere(globals);
  for (const ref of refs) told(await engine.imageMounts.mount(ref));
}

export async function listImageMounts(globals: GlobalValues): Promise<ImageMount[]> {
  await using engine = await openEngineHere(globals);
  return await engine.imageMounts.list();
}

/** Unmounts images; `told` of each id, or of what went wrong. @param refs undefined: all that are mounted */
export async function unmountImages(
  globals: GlobalValues,
  refs: readonly string[] | undefined,
  options: { force: boolean },
  told: (id: string | undefined, error?: unknown) => void,
): Promise<void> {
  await using engine = await openEngineHere(globals);
  const force = options.force || refs === undefined;
  for (const ref of refs ?? (await engine.imageMounts.list()).map(({ id }) => id)) {
    try {
      told(await engine.imageMounts.unmount(ref, { force }));
    } catch (error) {
      told(undefined, error);
    }
  }
}

/** Every image that users see. */
export async function listImageIDs(globals: GlobalValues): Promise<string[]> {
  await using engine = await openEngineHere(globals);
  return (await engine.images.list()).map(({ id }) => id);
}
