import { layerStoreContract } from '../contract.ts';
import { localLayersContract } from '../local-layers.contract.ts';

layerStoreContract('vfs');
localLayersContract('vfs');
