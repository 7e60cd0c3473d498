import { malformed } from '../foreign-file.ts';
import type { FoundPackage } from '../package.ts';

/** Index entries and bytes of data that rpm itself accepts (rpm, header.c). */
const MAX_INDEX = 0x0001_ffff;
const MAX_DATA_BYTES = 256 * 1024 * 1024;
const ENTRY_BYTES = 16;

const tags = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  vendor: 1011,
  license: 1014,
  arch: 1022,
  sourceRpm: 1044,
  dirIndexes: 1116,
  baseNames: 1117,
  dirNames: 1118,
} as const;
const wanted: ReadonlySet<number> = new Set(Object.values(tags));

const INT32 = 4;
const STRING = 6;
const STRING_ARRAY = 8;
const I18N = 9;

/**
 * One package of rpm's database: a header without its magic (rpm, "Header format"), numbers big-endian.
 *
 * @param onPath called with each path that the package owns
 * @returns undefined: a key of rpm's own, which is no package
 * @throws {TareError} InvalidArgument: it points outside of itself, or says no name and version
 */
export function rpmPackage(
  blob: Buffer,
  where: string,
  onPath: (path: string, owner: string) => void,
): FoundPackage | undefined {
  const header = new RpmHeader(blob, where);
  const [name, version, release] = [header.text(tags.name), header.text(tags.version), header.text(tags.release)];
  if (!name || !version || !release) throw malformed(where, 'a package header without name, version and release');
  if (name === 'gpg-pubkey') return undefined;
  const epoch = header.numbers(tags.epoch)[0];
  const full = `${epoch ? `${epoch}:` : ''}${version}-${release}`;
  const source = sourceOf(header.text(tags.sourceRpm), epoch);
  const folders = header.texts(tags.dirNames);
  const indexes = header.numbers(tags.dirIndexes);
  for (const [at, base] of header.texts(tags.baseNames).entries()) {
    const folder = folders[indexes[at] ?? -1];
    if (folder !== undefined) onPath(`${folder}${base}`.replace(/^\/+/, ''), name);
  }
  return {
    type: 'rpm',
    name,
    version: full,
    ...optional('architecture', header.text(tags.arch)),
    ...(source === undefined ? {} : { source }),
    licenses: header.text(tags.license) ? [header.text(tags.license)!] : [],
    ...optional('supplier', header.text(tags.vendor)),
  };
}

const optional = (key: string, value: string | undefined) => (value ? { [key]: value } : {});

/** `name-version-release.src.rpm`; the epoch is the binary's, for the name does not say it. */
function sourceOf(file: string | undefined, epoch: number | undefined): { name: string; version: string } | undefined {
  const [, name, version] = /^(.+)-([^-]+-[^-]+)\.(?:no)?src\.rpm$/.exec(file ?? '') ?? [];
  return name === undefined ? undefined : { name, version: `${epoch ? `${epoch}:` : ''}${version}` };
}

class RpmHeader {
  readonly #data: Buffer;
  readonly #entries = new Map<number, { type: number; offset: number; count: number }>();

  constructor(blob: Buffer, where: string) {
    if (blob.length < 8) throw malformed(where, 'a package header that is cut off');
    const [count, dataBytes] = [blob.readUInt32BE(0), blob.readUInt32BE(4)];
    const start = 8 + count * ENTRY_BYTES;
    if (count > MAX_INDEX || dataBytes > MAX_DATA_BYTES || start + dataBytes > blob.length) {
      throw malformed(where, `a package header of ${count} entries and ${dataBytes} bytes in ${blob.length} bytes`);
    }
    this.#data = blob.subarray(start, start + dataBytes);
    for (let at = 8; at < start; at += ENTRY_BYTES) {
      const tag = blob.readUInt32BE(at);
      if (!wanted.has(tag) || this.#entries.has(tag)) continue;
      const entry = {
        type: blob.readUInt32BE(at + 4),
        offset: blob.readUInt32BE(at + 8),
        count: blob.readUInt32BE(at + 12),
      };
      if (entry.offset > dataBytes || entry.count > dataBytes) {
        throw malformed(where, `tag ${tag} of a package header lies outside of it`);
      }
      this.#entries.set(tag, entry);
    }
  }

  text(tag: number): string | undefined {
    return this.#strings(tag, 1)[0];
  }

  texts(tag: number): string[] {
    return this.#strings(tag, Number.POSITIVE_INFINITY);
  }

  numbers(tag: number): number[] {
    const entry = this.#entries.get(tag);
    if (entry === undefined || entry.type !== INT32) return [];
    const fitting = Math.min(entry.count, Math.floor((this.#data.length - entry.offset) / 4));
    return Array.from({ length: fitting }, (_, at) => this.#data.readUInt32BE(entry.offset + 4 * at));
  }

  #strings(tag: number, most: number): string[] {
    const entry = this.#entries.get(tag);
    if (entry === undefined || ![STRING, STRING_ARRAY, I18N].includes(entry.type)) return [];
    const texts: string[] = [];
    for (let at = entry.offset; texts.length < Math.min(entry.count, most); ) {
      const end = this.#data.indexOf(0, at);
      if (end === -1) break;
      texts.push(this.#data.toString('utf8', at, end));
      at = end + 1;
    }
    return texts;
  }
}
