import type { ByteString } from '../../linux/index.ts';
import type { DiffID } from '../digest.ts';

/** What unpacking tells of a layer. */
export interface UnpackedLayer {
  diffID: DiffID;
  /** Of its files, counted once for hard links. */
  sizeBytes: number;
  /** Folders that entries needed and the tar does not name: what they are is for lower layers to say. */
  implied: ByteString[];
  /** What the tar says of the root folder itself. */
  root: { uid: number; gid: number; mode: number } | undefined;
}

/** What `layer.json` says of a layer. */
export interface LayerRecord extends UnpackedLayer {
  /** The boot during which it was unpacked: until `synced` exists, the layer is whole only as long as that boot lasts. */
  bootId: string;
}
