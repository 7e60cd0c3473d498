import { createHash } from 'node:crypto';
import { closeSync, read as readCallback, readSync, writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  AT_FDCWD,
  type ByteString,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_RDONLY,
  OpenFile,
  openAt,
  readDirectory,
  readLinkAt,
  S_IFDIR,
  S_IFLNK,
  S_IFREG,
  statusAt,
  toByteString,
} from '../../linux/index.ts';
import type { DiffID } from '../digest.ts';
import { encodeHeader, endOfArchive, padding } from '../tar/index.ts';
import { Descent, requirePathLength } from '../tree/descent.ts';
import { type PackedLinks, packedStatus, packedTypes, packedXattrs } from '../tree/pack.ts';
import type { RootStatus } from './layer-record.ts';
import { reservedName } from './pack-changes.ts';
import { isOpaque, isWhiteout, OPAQUE_WHITEOUT, opaqueAttribute, WHITEOUT_PREFIX } from './whiteouts.ts';

const read = promisify(readCallback);

/** Bytes gathered before they are hashed and written. */
const PIECE_BYTES = 1024 * 1024;
/** From this size on a file's next pieces are read while the one before is hashed. */
const LARGE_BYTES = 8 * 1024 * 1024;
/** Of a large file: what is read ahead fits into a core's own cache, where the core that hashes finds what another one read. */
const LARGE_PIECE_BYTES = 192 * 1024;
/** One is hashed, one is read, and one waits: with two, each core would wait for the other to wake up. */
const LARGE_PIECES = 3;

export interface PackOptions {
  /** No entry's time is later, in seconds since the epoch: two builds of the same files then give one digest. */
  clampToSeconds?: number;
}

/** A layer to be packed by a thread. */
export interface PackRequest extends PackOptions {
  /** The layer's files in overlayfs' form; nobody changes them. */
  directory: string;
  root: RootStatus | undefined;
  userXattrs: boolean;
  /** Where the tar goes, an empty file of this process; undefined: it is only hashed. */
  fd: number | undefined;
}

export interface PackedLayer {
  diffID: DiffID;
  tarBytes: number;
  /** Of its files, counted once for hard links. */
  filesBytes: number;
}

/** Packs a layer in this thread, hashing the bytes on the way. @throws {TareError} InvalidArgument: a name no layer can hold */
export async function packLayerHere(request: PackRequest, signal: AbortSignal): Promise<PackedLayer> {
  using root = new OpenFile(openAt(AT_FDCWD, toByteString(request.directory), O_DIRECTORY));
  const hash = createHash('sha256');
  let tarBytes = 0;
  let sinceTurn = 0;
  const writer = new PieceWriter((piece) => {
    hash.update(piece);
    const { fd } = request;
    if (fd !== undefined) for (let done = 0; done < piece.length; ) done += writeSync(fd, piece, done);
    tarBytes += piece.length;
    sinceTurn += piece.length;
  });
  const packer = new LayerPacker(writer, request);
  for (const waiting of packer.steps(root.fd)) {
    if (waiting !== undefined) await waiting;
    if (sinceTurn < 16 * PIECE_BYTES) continue;
    sinceTurn = 0;
    await setImmediate(); // a cancellation comes in
    signal.throwIfAborted();
  }
  writer.put(endOfArchive());
  writer.flush();
  return { diffID: `sha256:${hash.digest('hex')}` as DiffID, tarBytes, filesBytes: packer.filesBytes };
}

/** Gathers small pieces into large ones, in one buffer. */
class PieceWriter {
  readonly #buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  readonly #write: (piece: Buffer) => void;
  #used = 0;

  constructor(write: (piece: Buffer) => void) {
    this.#write = write;
  }

  put(bytes: Buffer): void {
    for (let done = 0; done < bytes.length; ) {
      const size = bytes.copy(this.#buffer, this.#used, done);
      this.#used += size;
      done += size;
      if (this.#used === PIECE_BYTES) this.flush();
    }
  }

  /** Reads a file's next bytes straight into the buffer. @returns 0: it is shorter than it was said to be */
  read(fd: number, sizeBytes: number, position: number): number {
    const room = Math.min(PIECE_BYTES - this.#used, sizeBytes);
    const size = readSync(fd, this.#buffer, this.#used, room, position);
    this.#used += size;
    if (this.#used === PIECE_BYTES) this.flush();
    return size;
  }

  /** Bytes that are not changed any more, without gathering them. */
  pass(bytes: Buffer): void {
    this.flush();
    this.#write(bytes);
  }

  flush(): void {
    if (this.#used > 0) this.#write(this.#buffer.subarray(0, this.#used));
    this.#used = 0;
  }
}

/** Names in a folder, the first at the end. */
const namesIn = (fd: number): ByteString[] =>
  readDirectory(fd)
    .map(({ name }) => name)
    .sort()
    .reverse();

/** The tar of one layer by itself (image-spec, layer.md): sorted by path, folders before what is in them. Equal layers give equal bytes. */
class LayerPacker {
  readonly #out: PieceWriter;
  readonly #request: Omit<PackRequest, 'fd'>;
  readonly #opaque: ByteString;
  readonly #links: PackedLinks = new Map();
  filesBytes = 0;

  constructor(out: PieceWriter, request: Omit<PackRequest, 'fd'>) {
    this.#out = out;
    this.#request = request;
    this.#opaque = opaqueAttribute(request.userXattrs);
  }

  /** Steps that tell something are to be waited for. */
  *steps(rootFd: number): Generator<Promise<void> | undefined, void, void> {
    const { root } = this.#request;
    if (root !== undefined) {
      const { modifyNs } = statusAt(rootFd, '.');
      this.#out.put(encodeHeader({ ...root, path: './', type: 'directory', modifyNs: this.#time(modifyNs) }));
    }
    using descent = new Descent(rootFd);
    const frames = [{ path: '', waiting: namesIn(descent.fd) }];
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const name = frame.waiting.pop();
      if (name === undefined) {
        frames.pop();
        if (frames.length > 0) descent.leave();
        continue;
      }
      const path = frame.path + name;
      if (name.startsWith(WHITEOUT_PREFIX)) throw reservedName(path);
      requirePathLength(path);
      yield undefined;
      if (!(yield* this.#entry(descent.fd, name, path, frame.path))) continue;
      descent.enter(name);
      frames.push({ path: `${path}/`, waiting: namesIn(descent.fd) });
    }
  }

  /** @returns whether it is a folder */
  *#entry(
    fd: number,
    name: ByteString,
    path: ByteString,
    folder: ByteString,
  ): Generator<Promise<void> | undefined, boolean, void> {
    const status = statusAt(fd, name);
    if (isWhiteout(status)) {
      this.#out.put(encodeHeader({ path: `${folder}${WHITEOUT_PREFIX}${name}`, type: 'file', mode: 0 }));
      return false;
    }
    const type = packedTypes[status.type];
    if (type === undefined) return false;
    const header = { ...packedStatus(status), path, modifyNs: this.#time(status.modifyNs) };
    if (type !== 'directory' && status.links > 1) {
      const key = `${status.fileSystem} ${status.inode}`;
      const first = this.#links.get(key);
      if (first !== undefined) {
        this.#out.put(encodeHeader({ ...header, type: 'hardlink', linkTarget: first }));
        return false;
      }
      this.#links.set(key, path);
    }
    const xattrs = packedXattrs(fd, name);
    const { sizeBytes } = status;
    const linkTarget = status.type === S_IFLNK ? readLinkAt(fd, name) : '';
    this.#out.put(encodeHeader({ ...header, type, linkTarget, xattrs, sizeBytes }));
    if (status.type === S_IFREG) {
      this.filesBytes += sizeBytes;
      yield* this.#content(fd, name, sizeBytes);
    }
    if (status.type !== S_IFDIR) return false;
    if (isOpaque(fd, name, this.#opaque)) {
      this.#out.put(encodeHeader({ path: `${path}/${OPAQUE_WHITEOUT}`, type: 'file', mode: 0 }));
    }
    return true;
  }

  *#content(fd: number, name: ByteString, sizeBytes: number): Generator<Promise<void> | undefined, void, void> {
    if (sizeBytes === 0) return;
    if (sizeBytes >= LARGE_BYTES) {
      yield* this.#largeContent(openAt(fd, name, O_RDONLY | O_NOFOLLOW), name, sizeBytes);
    } else {
      using file = new OpenFile(openAt(fd, name, O_RDONLY | O_NOFOLLOW));
      for (let position = 0; position < sizeBytes; ) {
        const size = this.#out.read(file.fd, sizeBytes - position, position);
        if (size === 0) throw becameShorter(name);
        position += size;
        yield undefined;
      }
    }
    this.#out.put(padding(sizeBytes));
  }

  /** @param fd becomes its own */
  *#largeContent(fd: number, name: ByteString, sizeBytes: number): Generator<Promise<void>, void, void> {
    const reads: { piece: Buffer; done: Promise<void> }[] = [];
    let asked = 0;
    const ask = (buffer: Buffer): void => {
      const piece = buffer.subarray(0, sizeBytes - asked);
      if (piece.length === 0) return;
      const done = readWhole(fd, piece, asked, name);
      done.catch(() => {}); // should an earlier piece not find its place, that is what went wrong
      reads.push({ piece, done });
      asked += piece.length;
    };
    try {
      for (let count = 0; count < LARGE_PIECES; count++) ask(Buffer.allocUnsafeSlow(LARGE_PIECE_BYTES));
      for (let next = reads[0]; next !== undefined; next = reads[0]) {
        yield next.done;
        this.#out.pass(next.piece);
        reads.shift();
        ask(next.piece);
      }
    } finally {
      // Nobody closes the file while it is read.
      void Promise.allSettled(reads.map(({ done }) => done)).then(() => closeSync(fd));
    }
  }

  #time(modifyNs: bigint): bigint {
    const { clampToSeconds } = this.#request;
    if (clampToSeconds === undefined) return modifyNs;
    const latest = BigInt(clampToSeconds) * 1_000_000_000n;
    return modifyNs > latest ? latest : modifyNs;
  }
}

/** Fills the buffer with the file's bytes from a position on. @throws it is shorter than it was said to be */
async function readWhole(fd: number, buffer: Buffer, position: number, name: ByteString): Promise<void> {
  for (let filled = 0; filled < buffer.length; ) {
    const { bytesRead } = await read(fd, buffer, filled, buffer.length - filled, position + filled);
    if (bytesRead === 0) throw becameShorter(name);
    filled += bytesRead;
  }
}

const becameShorter = (name: ByteString): Error =>
  new Error(`a layer changed while it was packed: ${name} became shorter`);
