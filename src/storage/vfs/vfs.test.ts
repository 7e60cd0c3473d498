import { layerStoreContract } from '../contract.ts';

layerStoreContract('vfs');
