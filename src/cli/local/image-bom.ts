import { type BillOfMaterials, type BomOptions, Engine } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { configFrom } from './open-engine.ts';

/** What is installed in an image of the engine in this process. */
export async function imageBom(globals: GlobalValues, ref: string, options: BomOptions): Promise<BillOfMaterials> {
  await using engine = await Engine.open(configFrom(globals));
  return await engine.images.sbom(ref, options);
}
