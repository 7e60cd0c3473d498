import type { ByteString } from '../../linux/index.ts';
import type { DiffID } from '../digest.ts';

/** Owner and permissions of a root folder. */
export interface RootStatus {
  uid: number;
  gid: number;
  mode: number;
}

/** What of a layer matters to stacks that it is in. */
export interface StackedLayer {
  /** Folders that entries needed and the tar does not name: what they are is for lower layers to say. */
  implied: ByteString[];
  /** What the layer says of the root folder itself. */
  root: RootStatus | undefined;
}

/** What unpacking tells of a layer. */
export interface UnpackedLayer extends StackedLayer {
  diffID: DiffID;
  /** Of its files, counted once for hard links. */
  sizeBytes: number;
}

/** What `layer.json` says of a layer. A local one has neither diffID nor size before it is sealed. */
export interface LayerRecord extends StackedLayer, Partial<Omit<UnpackedLayer, keyof StackedLayer>> {
  /** The boot during which it was made: until `synced` exists, the layer is whole only as long as that boot lasts. */
  bootId: string;
  /** Of a local layer: the store that made it, whose life spares it (`StoreLife`). */
  maker?: string;
  /** Of a sealed layer: size of the tar that its diffID is of, which can be made again from its files. */
  tarBytes?: number;
}
