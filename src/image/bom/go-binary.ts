import { readAt } from '../read-at.ts';
import { malformed } from './foreign-file.ts';
import type { FoundPackage } from './package.ts';

/** Where the linker puts it in a binary (Go's debug/buildinfo). */
const MAGIC = Buffer.from('\xff Go buildinf:', 'latin1');
const HEADER_BYTES = 32;
const ALIGN = 16;
const PIECE_BYTES = 1024 * 1024;
/** Bytes of data that are searched where no section names the place; Go itself looks at the first segment's start. */
const MAX_SEARCH_BYTES = 64 * 1024 * 1024;
const MAX_TEXT_BYTES = 16 * 1024 * 1024;
const MAX_SECTIONS = 4096;
/** Around the module list, so that it is found in a running program. */
const SENTINEL_BYTES = 16;

interface Span {
  /** In the file. */
  offset: number;
  sizeBytes: number;
  /** In memory. */
  address: number;
}

interface Elf {
  is64: boolean;
  isLittle: boolean;
  /** Loaded parts, writable ones first. */
  segments: (Span & { isWritable: boolean })[];
  buildInfo: Span | undefined;
}

/** What a Go program says of how it was built. */
export interface GoBuild {
  goVersion: string;
  /** `path`, `mod`, `dep`, `=>` and `build` lines. */
  modules: string;
}

/**
 * The build information of an ELF program. Reads its headers, then the section that holds it or the writable segment's bytes.
 *
 * @returns undefined: no ELF file, or not built by Go 1.12 or later
 * @throws {TareError} InvalidArgument: it has build information that points outside of the file
 */
export function readGoBuild(fd: number, path: string, sizeBytes: number): GoBuild | undefined {
  const elf = readElf(fd, sizeBytes);
  if (elf === undefined) return undefined;
  const spans = elf.buildInfo ? [elf.buildInfo] : elf.segments.filter(({ isWritable }) => isWritable).slice(0, 1);
  for (const span of spans) {
    const at = findMagic(fd, span);
    if (at !== undefined) return decode(fd, path, at, elf);
  }
  return undefined;
}

function readElf(fd: number, sizeBytes: number): Elf | undefined {
  const head = Buffer.alloc(64);
  if (readAt(fd, head, 0) < 52 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const is64 = head[4] === 2;
  const isLittle = head[5] === 1;
  const number = (bytes: Buffer, at: number, size: 2 | 4 | 8): number => {
    if (at + size > bytes.length) return 0;
    if (size === 2) return isLittle ? bytes.readUInt16LE(at) : bytes.readUInt16BE(at);
    if (size === 4) return isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
    return Number(isLittle ? bytes.readBigUInt64LE(at) : bytes.readBigUInt64BE(at));
  };
  const word = is64 ? 8 : 4;
  const programs = readTable(
    fd,
    number(head, is64 ? 32 : 28, word),
    number(head, is64 ? 54 : 42, 2),
    number(head, is64 ? 56 : 44, 2),
    sizeBytes,
  );
  const sections = readTable(
    fd,
    number(head, is64 ? 40 : 32, word),
    number(head, is64 ? 58 : 46, 2),
    number(head, is64 ? 60 : 48, 2),
    sizeBytes,
  );
  const PT_LOAD = 1;
  const segments = programs.flatMap((entry) => {
    if (number(entry, 0, 4) !== PT_LOAD) return [];
    const flags = number(entry, is64 ? 4 : 24, 4);
    const span = {
      offset: number(entry, is64 ? 8 : 4, word),
      address: number(entry, is64 ? 16 : 8, word),
      sizeBytes: number(entry, is64 ? 32 : 16, word),
    };
    return isWithin(span, sizeBytes) ? [{ ...span, isWritable: (flags & 2) !== 0 }] : [];
  });
  const spanOf = (entry: Buffer): Span => ({
    address: number(entry, is64 ? 16 : 12, word),
    offset: number(entry, is64 ? 24 : 16, word),
    sizeBytes: number(entry, is64 ? 32 : 20, word),
  });
  const names = sections[number(head, is64 ? 62 : 50, 2)];
  const strings = names === undefined ? undefined : spanOf(names);
  const buildInfo = sections
    .filter((entry) => strings !== undefined && isNamed(fd, strings, number(entry, 0, 4), '.go.buildinfo'))
    .map(spanOf)
    .find((span) => isWithin(span, sizeBytes));
  return { is64, isLittle, segments, buildInfo };
}

const isWithin = ({ offset, sizeBytes }: Span, fileBytes: number): boolean =>
  Number.isSafeInteger(offset) && Number.isSafeInteger(sizeBytes) && offset + sizeBytes <= fileBytes && sizeBytes > 0;

function readTable(fd: number, offset: number, entryBytes: number, count: number, sizeBytes: number): Buffer[] {
  if (count === 0 || count > MAX_SECTIONS || entryBytes < 32 || entryBytes > 256) return [];
  if (!Number.isSafeInteger(offset) || offset + entryBytes * count > sizeBytes) return [];
  const bytes = Buffer.alloc(entryBytes * count);
  readAt(fd, bytes, offset);
  return Array.from({ length: count }, (_, index) => bytes.subarray(index * entryBytes, (index + 1) * entryBytes));
}

function isNamed(fd: number, strings: Span, at: number, name: string): boolean {
  if (at + name.length + 1 > strings.sizeBytes || !Number.isSafeInteger(strings.offset)) return false;
  const bytes = Buffer.alloc(name.length + 1);
  readAt(fd, bytes, strings.offset + at);
  return bytes.toString('latin1') === `${name}\0`;
}

/** @returns the magic's offset in the file */
function findMagic(fd: number, span: Span): number | undefined {
  const end = span.offset + Math.min(span.sizeBytes, MAX_SEARCH_BYTES);
  const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, span.sizeBytes));
  // Pieces overlap, so that a magic across their border is found.
  for (let offset = span.offset; offset + MAGIC.length <= end; offset += PIECE_BYTES - MAGIC.length) {
    const bytes = piece.subarray(0, readAt(fd, piece.subarray(0, Math.min(piece.length, end - offset)), offset));
    for (let at = bytes.indexOf(MAGIC); at !== -1; at = bytes.indexOf(MAGIC, at + 1)) {
      if ((offset + at - span.offset) % ALIGN === 0) return offset + at;
    }
  }
  return undefined;
}

function decode(fd: number, path: string, at: number, elf: Elf): GoBuild {
  const header = Buffer.alloc(HEADER_BYTES);
  readAt(fd, header, at);
  const flags = header[15]!;
  if (flags & 2) {
    // Since Go 1.18: both texts follow, each after its length.
    const first = inlineText(fd, path, at + HEADER_BYTES);
    const second = inlineText(fd, path, first.end);
    return built(first.bytes, second.bytes, path);
  }
  const pointerBytes = header[14]!;
  if (pointerBytes !== 4 && pointerBytes !== 8)
    throw malformed(path, `its Go build information has ${pointerBytes}-byte pointers`);
  const isLittle = (flags & 1) === 0;
  const pointer = (bytes: Buffer, offset: number): number => {
    if (pointerBytes === 4) return isLittle ? bytes.readUInt32LE(offset) : bytes.readUInt32BE(offset);
    return Number(isLittle ? bytes.readBigUInt64LE(offset) : bytes.readBigUInt64BE(offset));
  };
  const text = (address: number): Buffer => {
    const string = readMemory(fd, path, elf, address, 2 * pointerBytes);
    return readMemory(fd, path, elf, pointer(string, 0), pointer(string, pointerBytes));
  };
  const modules = pointer(header, 16 + pointerBytes);
  return built(text(pointer(header, 16)), modules === 0 ? Buffer.alloc(0) : text(modules), path);
}

function inlineText(fd: number, path: string, at: number): { bytes: Buffer; end: number } {
  const head = Buffer.alloc(10);
  const size = readAt(fd, head, at);
  let length = 0;
  let used = 0;
  for (;;) {
    if (used >= size || used > 4) throw malformed(path, 'its Go build information has no valid length');
    const byte = head[used]!;
    length += (byte & 0x7f) * 2 ** (7 * used);
    used += 1;
    if (byte < 0x80) break;
  }
  return { bytes: exactly(fd, path, at + used, length), end: at + used + length };
}

function readMemory(fd: number, path: string, elf: Elf, address: number, size: number): Buffer {
  const segment = elf.segments.find(
    (span) => address >= span.address && address + size <= span.address + span.sizeBytes,
  );
  if (segment === undefined) throw malformed(path, 'its Go build information points outside of the program');
  return exactly(fd, path, segment.offset + (address - segment.address), size);
}

function exactly(fd: number, path: string, at: number, size: number): Buffer {
  if (size > MAX_TEXT_BYTES) throw malformed(path, `its Go build information is longer than ${MAX_TEXT_BYTES} bytes`);
  const bytes = Buffer.alloc(size);
  if (readAt(fd, bytes, at) !== size) throw malformed(path, 'its Go build information is cut off');
  return bytes;
}

function built(version: Buffer, modules: Buffer, path: string): GoBuild {
  const goVersion = version.toString('utf8');
  if (goVersion.length > 256 || /[\u0000-\u001f]/.test(goVersion)) throw malformed(path, 'its Go version is no text');
  const isFramed = modules.length >= 2 * SENTINEL_BYTES + 1 && modules[modules.length - SENTINEL_BYTES - 1] === 0x0a;
  const inner = isFramed ? modules.subarray(SENTINEL_BYTES, -SENTINEL_BYTES) : Buffer.alloc(0);
  return { goVersion, modules: inner.toString('utf8') };
}

/** The modules that are linked in, replaced ones as what replaces them, and the standard library. */
export function goPackages({ goVersion, modules }: GoBuild): FoundPackage[] {
  const found: FoundPackage[] = [];
  const toolchain = /^go(\d\S*)/.exec(goVersion)?.[1];
  if (toolchain !== undefined) found.push({ type: 'golang', name: 'stdlib', version: toolchain });
  for (const line of modules.split('\n')) {
    const [kind, name, version] = line.split('\t');
    if (!name) continue;
    if (kind === 'mod' || kind === 'dep') found.push({ type: 'golang', name, version: version || '(devel)' });
    // A folder in place of a module has no version: the module's own name says more then.
    else if (kind === '=>' && version) found.splice(-1, 1, { type: 'golang', name, version });
  }
  return found;
}
