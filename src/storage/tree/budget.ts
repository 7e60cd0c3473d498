import { statfsSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';
import type { ByteString } from '../../linux/index.ts';
import { invalidArchive } from '../tar/header.ts';
import type { TarHeader } from '../tar/index.ts';

/** What one archive may cost. */
export interface ArchiveLimits {
  /** Bytes of all files together, holes included. */
  bytes: number;
  entries: number;
  /** Device nodes: an image has a few dozen, a bomb has thousands. */
  devices: number;
  /** Bytes of the paths of folders, which are remembered until the end for their times. */
  folderPathBytes: number;
  /** Inflated bytes for each stored byte, counted once `inflateFreeBytes` are inflated. */
  inflateRatio: number;
  inflateFreeBytes: number;
  /** Stop while so much disk is still free. */
  reserveBytes: number;
}

export const defaultLimits: ArchiveLimits = {
  bytes: 256 * 1024 ** 3,
  entries: 4_000_000,
  devices: 4096,
  folderPathBytes: 32 * 1024 ** 2,
  inflateRatio: 200,
  inflateFreeBytes: 256 * 1024 ** 2,
  reserveBytes: 64 * 1024 ** 2,
};

/** Bytes written between two looks at the free space. */
const LOOK_EVERY = 32 * 1024 ** 2;

/** Counts what an archive costs and stops it at its limits. */
export class ByteBudget {
  readonly #limits: ArchiveLimits;
  #bytes = 0;
  #entries = 0;
  #devices = 0;
  #folderPathBytes = 0;
  #sinceLook = LOOK_EVERY;

  constructor(limits: ArchiveLimits = defaultLimits) {
    this.#limits = limits;
  }

  entry(header: TarHeader): void {
    const { bytes, entries, devices } = this.#limits;
    this.#entries += 1;
    if (this.#entries > entries) throw invalidArchive(`more than ${entries} entries`, header.path);
    if (header.type === 'character' || header.type === 'block') {
      this.#devices += 1;
      if (this.#devices > devices) throw invalidArchive(`more than ${devices} device nodes`, header.path);
    }
    this.#bytes += header.sizeBytes;
    if (this.#bytes > bytes) throw invalidArchive(`its files say they hold more than ${bytes} bytes`, header.path);
  }

  folder(path: ByteString): void {
    this.#folderPathBytes += path.length + 32;
    if (this.#folderPathBytes > this.#limits.folderPathBytes) throw invalidArchive('too many folders', path);
  }

  /** @param fd anything on the file system that is written */
  data(sizeBytes: number, fd: number): void {
    this.#sinceLook += sizeBytes;
    if (this.#sinceLook < LOOK_EVERY) return;
    this.#sinceLook = 0;
    const { bavail, bsize } = statfsSync(`/proc/self/fd/${fd}`);
    if (bavail * bsize < this.#limits.reserveBytes + LOOK_EVERY) {
      throw new TareError(
        'Unavailable',
        `no space left on device: ${Math.floor((bavail * bsize) / 1024 ** 2)} MiB are free while unpacking; free some space and try again`,
      );
    }
  }

  /** @param stored compressed bytes read so far @param inflated what they became */
  inflated(stored: number, inflated: number): void {
    const { inflateFreeBytes, inflateRatio } = this.#limits;
    if (inflated > inflateFreeBytes && inflated > stored * inflateRatio) {
      throw invalidArchive(
        `its compressed bytes inflate more than ${inflateRatio}-fold (${stored} became more than ${inflated}): refused as a decompression bomb`,
      );
    }
  }
}
