/** Bits of Go's os.FileMode, with which fsutil tells what an entry is. */
const go = {
  directory: 0x8000_0000,
  symlink: 0x0800_0000,
  device: 0x0400_0000,
  pipe: 0x0200_0000,
  socket: 0x0100_0000,
  setuid: 0x0080_0000,
  setgid: 0x0040_0000,
  characterDevice: 0x0020_0000,
  sticky: 0x0010_0000,
};

/** Of st_mode. */
const type = { pipe: 0o010000, character: 0o020000, directory: 0o040000, block: 0o060000 };
const typeOf = { regular: 0o100000, symlink: 0o120000, socket: 0o140000, mask: 0o170000 };

const has = (mode: number, bit: number) => (mode & bit) !== 0;

/** st_mode of a mode as Go has it. */
export function unixModeOf(mode: number): number {
  let unix = mode & 0o777;
  if (has(mode, go.setuid)) unix |= 0o4000;
  if (has(mode, go.setgid)) unix |= 0o2000;
  if (has(mode, go.sticky)) unix |= 0o1000;
  if (has(mode, go.directory)) return unix | type.directory;
  if (has(mode, go.symlink)) return unix | typeOf.symlink;
  if (has(mode, go.device)) return unix | (has(mode, go.characterDevice) ? type.character : type.block);
  if (has(mode, go.pipe)) return unix | type.pipe;
  if (has(mode, go.socket)) return unix | typeOf.socket;
  return unix | typeOf.regular;
}

/** A mode as Go has it, of st_mode; unsigned. */
export function goModeOf(unix: number): number {
  let mode = unix & 0o777;
  if (has(unix, 0o4000)) mode |= go.setuid;
  if (has(unix, 0o2000)) mode |= go.setgid;
  if (has(unix, 0o1000)) mode |= go.sticky;
  const kind = unix & typeOf.mask;
  if (kind === type.directory) mode |= go.directory;
  else if (kind === typeOf.symlink) mode |= go.symlink;
  else if (kind === type.block) mode |= go.device;
  else if (kind === type.character) mode |= go.device | go.characterDevice;
  else if (kind === type.pipe) mode |= go.pipe;
  else if (kind === typeOf.socket) mode |= go.socket;
  return mode >>> 0;
}
