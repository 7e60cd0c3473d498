/** Two empty blocks. */
export const END_OF_TAR: Uint8Array = new Uint8Array(1024);

export interface TarEntry {
  name: string;
  type: 'file' | 'directory' | 'symlink' | 'hardlink' | 'fifo' | 'character' | 'block';
  linkTarget?: string;
  sizeBytes: number;
  mode: number;
  uid: number;
  gid: number;
  modifiedSeconds: number;
  /** Of a device. */
  major?: number;
  minor?: number;
}

const typeFlags = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  character: '3',
  block: '4',
  directory: '5',
  fifo: '6',
} as const;

/** Blocks before an entry's content: a ustar header, with a PAX one before it for what does not fit (POSIX.1-2017, pax). */
export function tarHeader(entry: TarEntry): Uint8Array {
  const extended: Record<string, string> = {};
  const link = entry.linkTarget ?? '';
  if (Buffer.byteLength(entry.name) > 100) extended['path'] = entry.name;
  if (Buffer.byteLength(link) > 100) extended['linkpath'] = link;
  if (entry.sizeBytes > 0o77777777777) extended['size'] = String(entry.sizeBytes);
  if (entry.uid > 0o7777777) extended['uid'] = String(entry.uid);
  if (entry.gid > 0o7777777) extended['gid'] = String(entry.gid);
  if (entry.modifiedSeconds < 0) extended['mtime'] = String(entry.modifiedSeconds);
  const header = ustar(entry, typeFlags[entry.type]);
  if (Object.keys(extended).length === 0) return header;
  const records = Buffer.concat(Object.entries(extended).map(([key, value]) => record(key, value)));
  const before = ustar({ ...entry, name: 'PaxHeader', linkTarget: '', sizeBytes: records.length, mode: 0o644 }, 'x');
  return Buffer.concat([before, records, tarPadding(records.length), header]);
}

/** Zeros that fill the last block of content of this size. */
export function tarPadding(sizeBytes: number): Uint8Array {
  return new Uint8Array((512 - (sizeBytes % 512)) % 512);
}

function ustar(entry: TarEntry, flag: string): Buffer {
  const block = Buffer.alloc(512);
  // What is too long stands in the PAX header; here it is cut.
  const put = (text: string, at: number, length: number) => block.set(Buffer.from(text).subarray(0, length), at);
  const octal = (value: number, at: number, length: number) => {
    const text = Math.max(0, value)
      .toString(8)
      .padStart(length - 1, '0');
    put(text.length < length ? text : '7'.repeat(length - 1), at, length - 1);
  };
  put(entry.name, 0, 100);
  octal(entry.mode, 100, 8);
  octal(entry.uid, 108, 8);
  octal(entry.gid, 116, 8);
  octal(entry.sizeBytes, 124, 12);
  octal(entry.modifiedSeconds, 136, 12);
  put('        ', 148, 8);
  put(flag, 156, 1);
  put(entry.linkTarget ?? '', 157, 100);
  put('ustar\x0000', 257, 8);
  octal(entry.major ?? 0, 329, 8);
  octal(entry.minor ?? 0, 337, 8);
  let sum = 0;
  for (const byte of block) sum += byte;
  put(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 8);
  return block;
}

/** `LENGTH key=value\n`, where LENGTH counts itself. */
function record(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}
