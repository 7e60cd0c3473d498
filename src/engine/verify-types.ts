import type { Registries } from '../image/index.ts';

/** What a check found wrong. */
export interface Damage {
  what: 'blob' | 'image' | 'layer';
  /** Digest, image id or diffID. */
  id: string;
  /** Names, or ids, of the images that need it. */
  images: string[];
  problem: string;
  /** With `repair`: whether it is whole again. */
  isRepaired: boolean;
  /** Why it could not be repaired. */
  obstacle?: string;
}

/** What was looked at. */
export interface VerifyCount {
  images: number;
  blobs: number;
  /** Of those blobs. */
  bytes: number;
  layers: number;
}

export type VerifyMessage =
  | { type: 'progress'; doneBytes: number; totalBytes: number; doing: string }
  | { type: 'damage'; damage: Damage }
  | { type: 'end'; checked: VerifyCount; damaged: number; repaired: number };

export interface VerifyOptions {
  /** Names or ids; undefined: everything, and blobs that no image needs. */
  images?: readonly string[];
  /** Unpack each layer once more and compare it with what lies there. */
  deep?: boolean;
  /** Fetch damaged blobs again and unpack damaged layers again. */
  repair?: boolean;
  /** Where damaged blobs are fetched, with whose credentials; undefined: the engine's, with nobody's. */
  registries?: Registries;
  signal?: AbortSignal;
}
