export interface TarEntry {
  path: string;
  type?: 'file' | 'directory' | 'symlink' | 'link' | 'character' | 'block' | 'fifo';
  /** Default 0644, folders 0755, links 0777. */
  mode?: number;
  uid?: number;
  gid?: number;
  mtimeSeconds?: number;
  content?: string | Uint8Array;
  /** Target of a link. */
  target?: string;
  device?: [major: number, minor: number];
  /** PAX records, e.g. `SCHILY.xattr.user.colour`. */
  pax?: Record<string, string | Uint8Array>;
  /** What the header says of the size, for headers that lie. */
  claimedSize?: number;
}

const flags = { file: '0', link: '1', symlink: '2', character: '3', block: '4', directory: '5', fifo: '6' };
const blockBytes = 512;

function octal(value: number, width: number): string {
  return `${value.toString(8).padStart(width - 1, '0')}\0`;
}

function padded(content: Uint8Array): Buffer {
  return Buffer.concat([content, Buffer.alloc((blockBytes - (content.length % blockBytes)) % blockBytes)]);
}

function header(entry: TarEntry, name: string, flag: string, sizeBytes: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  const folder = entry.type === 'directory';
  const mode = entry.mode ?? (folder ? 0o755 : entry.type === 'symlink' ? 0o777 : 0o644);
  block.write(name, 0, 100);
  block.write(octal(mode, 8), 100);
  block.write(octal(entry.uid ?? 0, 8), 108);
  block.write(octal(entry.gid ?? 0, 8), 116);
  block.write(octal(sizeBytes, 12), 124);
  block.write(octal(entry.mtimeSeconds ?? 1_700_000_000, 12), 136);
  block.write(' '.repeat(8), 148);
  block.write(flag, 156);
  block.write(entry.target ?? '', 157, 100);
  block.write('ustar\x0000', 257);
  block.write(octal(entry.device?.[0] ?? 0, 8), 329);
  block.write(octal(entry.device?.[1] ?? 0, 8), 337);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** One PAX record: its length counts its own digits. */
function paxRecord(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as string), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/** A tar of exactly these entries: nothing is checked, so that hostile ones can be made. */
export function tar(entries: readonly TarEntry[], options: { end?: boolean } = {}): Buffer {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const type = entry.type ?? 'file';
    const content = typeof entry.content === 'string' ? Buffer.from(entry.content) : (entry.content ?? Buffer.alloc(0));
    const name = type === 'directory' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
    const records = { ...entry.pax };
    if (Buffer.byteLength(name) > 100) records['path'] = name;
    if (Buffer.byteLength(entry.target ?? '') > 100) records['linkpath'] = entry.target!;
    if (Object.keys(records).length > 0) {
      const body = Buffer.concat(Object.entries(records).map(([key, value]) => paxRecord(key, value)));
      parts.push(header({ path: 'pax' }, 'PaxHeaders/entry', 'x', body.length), padded(body));
    }
    parts.push(header(entry, name, flags[type], entry.claimedSize ?? content.length), padded(content));
  }
  if (options.end !== false) parts.push(Buffer.alloc(2 * blockBytes));
  return Buffer.concat(parts);
}
