import type { BillOfMaterials, BomOptions } from '../../engine/index.ts';
import type { GlobalValues } from '../command.ts';
import { openEngineHere } from './engine-here.ts';

/** What is installed in an image of the engine in this process. */
export async function imageBom(globals: GlobalValues, ref: string, options: BomOptions): Promise<BillOfMaterials> {
  await using engine = await openEngineHere(globals);
  return await engine.images.sbom(ref, options);
}
