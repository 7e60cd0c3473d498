import fc from 'fast-check';

/** A sparse file's stored pieces; the bytes between them are holes. */
export interface Extent {
  offset: number;
  bytes: Buffer;
}

export type SparseFormat = 'old' | '0.0' | '0.1' | '1.0';

/** One entry as other writers may write it, hostile ones included. Text is bytes, one character each. */
export interface ForeignEntry {
  kind: 'file' | 'sparse' | 'directory' | 'link' | 'hardlink' | 'fifo' | 'character' | 'block';
  path: string;
  mode: number;
  uid: number;
  gid: number;
  seconds: number;
  nanoseconds: number;
  target: string;
  device: [major: number, minor: number];
  body: Buffer;
  extents: Extent[];
  sizeBytes: number;
  sparseFormat: SparseFormat;
  xattrs: [key: string, value: Buffer][];
  dialect: 'pax' | 'gnu';
}

const BLOCK = 512;
const flags = {
  file: '0',
  directory: '5',
  link: '2',
  hardlink: '1',
  fifo: '6',
  character: '3',
  block: '4',
  sparse: '0',
};
const bytesOf = (text: string): Buffer => Buffer.from(text, 'latin1');
const padded = (bytes: Buffer): Buffer =>
  Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);

/** An archive of these entries, written by a writer that shares nothing with the engine's own. */
export function foreignArchive(entries: readonly ForeignEntry[]): Buffer {
  return Buffer.concat([...entries.map(encode), Buffer.alloc(2 * BLOCK)]);
}

function encode(entry: ForeignEntry): Buffer {
  const { kind, dialect, sparseFormat } = entry;
  const isOldSparse = kind === 'sparse' && sparseFormat === 'old';
  const path = kind === 'directory' && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
  const stored = kind === 'sparse' ? storedBytes(entry) : kind === 'file' ? entry.body : Buffer.alloc(0);
  const parts: Buffer[] = [];
  const records: Buffer[] = [];
  const isPax = (dialect === 'pax' || kind === 'sparse') && !isOldSparse;
  if (isPax) {
    if (path.length > 100 || kind === 'sparse') records.push(record('path', bytesOf(path)));
    if (entry.target.length > 100) records.push(record('linkpath', bytesOf(entry.target)));
    if (entry.uid > 0o7777777) records.push(record('uid', bytesOf(String(entry.uid))));
    if (entry.gid > 0o7777777) records.push(record('gid', bytesOf(String(entry.gid))));
    records.push(record('mtime', bytesOf(timeText(entry))));
    for (const [key, value] of entry.xattrs) records.push(record(`SCHILY.xattr.${key}`, value));
    if (kind === 'sparse') records.push(...sparseRecords(entry, path));
    const body = Buffer.concat(records);
    parts.push(header(plainHeader('x', body.length), 'pax'), padded(body));
  } else {
    if (path.length > 100) parts.push(...gnuLong('L', path));
    if (entry.target.length > 100) parts.push(...gnuLong('K', entry.target));
  }
  const block = header(
    { ...entry, path, flag: isOldSparse ? 'S' : flags[kind], size: stored.length },
    isPax ? 'pax' : 'gnu',
  );
  if (isOldSparse) parts.push(...oldSparse(block, entry));
  else parts.push(block);
  return Buffer.concat([...parts, padded(stored)]);
}

type Fields = Pick<ForeignEntry, 'path' | 'mode' | 'uid' | 'gid' | 'seconds' | 'target' | 'device'> & {
  flag: string;
  size: number;
};

const plainHeader = (flag: string, size: number): Fields => ({
  ...{ path: '././@LongLink', mode: 0o644, uid: 0, gid: 0, seconds: 0, target: '', device: [0, 0] },
  ...{ flag, size },
});

function gnuLong(flag: string, text: string): Buffer[] {
  const body = bytesOf(`${text}\0`);
  return [header(plainHeader(flag, body.length), 'gnu'), padded(body)];
}

function header(fields: Fields, dialect: ForeignEntry['dialect']): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(fields.path.slice(0, 100), 0, 100, 'latin1');
  number(block, 100, 8, fields.mode, dialect);
  number(block, 108, 8, fields.uid, dialect);
  number(block, 116, 8, fields.gid, dialect);
  number(block, 124, 12, fields.size, dialect);
  number(block, 136, 12, fields.seconds, dialect);
  block.write(fields.flag, 156);
  block.write(fields.target.slice(0, 100), 157, 100, 'latin1');
  block.write(dialect === 'gnu' ? 'ustar  \0' : 'ustar\x0000', 257, 'latin1');
  number(block, 329, 8, fields.device[0], dialect);
  number(block, 337, 8, fields.device[1], dialect);
  return sealed(block);
}

function sealed(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

/** Octal digits; what does not fit is base-256 in GNU's dialect, and zero in PAX, whose records say it. */
function number(block: Buffer, offset: number, width: number, value: number, dialect: ForeignEntry['dialect']): void {
  const digits = value < 0 ? '' : value.toString(8);
  if (digits !== '' && digits.length < width) block.write(`${digits.padStart(width - 1, '0')}\0`, offset);
  else if (dialect === 'pax') block.write(`${'0'.repeat(width - 1)}\0`, offset);
  else {
    let rest = BigInt.asUintN(8 * width, BigInt(value));
    for (let at = offset + width - 1; at >= offset; at -= 1, rest >>= 8n) block[at] = Number(rest & 0xffn);
    block[offset] = value < 0 ? 0xff : 0x80;
  }
}

function record(key: string, value: Buffer): Buffer {
  const rest = Buffer.concat([bytesOf(` ${key}=`), value, bytesOf('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([bytesOf(String(length)), rest]);
}

function timeText({ seconds, nanoseconds }: ForeignEntry): string {
  return nanoseconds === 0 ? String(seconds) : `${seconds}.${String(nanoseconds).padStart(9, '0')}`;
}

/** The map as numbers, with GNU's empty extent at the end of a file that ends in a hole. */
function sparseNumbers({ extents, sizeBytes }: ForeignEntry): number[] {
  const numbers = extents.flatMap(({ offset, bytes }) => [offset, bytes.length]);
  const last = extents.at(-1);
  const end = last === undefined ? 0 : last.offset + last.bytes.length;
  return end < sizeBytes || numbers.length === 0 ? [...numbers, sizeBytes, 0] : numbers;
}

function storedBytes(entry: ForeignEntry): Buffer {
  const data = Buffer.concat(entry.extents.map(({ bytes }) => bytes));
  if (entry.sparseFormat !== '1.0') return data;
  const numbers = sparseNumbers(entry);
  return Buffer.concat([padded(bytesOf(`${[numbers.length / 2, ...numbers].join('\n')}\n`)), data]);
}

function sparseRecords(entry: ForeignEntry, path: string): Buffer[] {
  const numbers = sparseNumbers(entry);
  const text = (key: string, value: string | number): Buffer => record(`GNU.sparse.${key}`, bytesOf(String(value)));
  if (entry.sparseFormat === '1.0') {
    return [text('major', 1), text('minor', 0), text('name', path), text('realsize', entry.sizeBytes)];
  }
  const common = [text('size', entry.sizeBytes), text('numblocks', numbers.length / 2)];
  if (entry.sparseFormat === '0.1') return [...common, text('name', path), text('map', numbers.join(','))];
  return [...common, ...numbers.map((value, index) => text(index % 2 === 0 ? 'offset' : 'numbytes', value))];
}

/** GNU's own form: four extents in the header, then blocks of 21. */
function oldSparse(block: Buffer, entry: ForeignEntry): Buffer[] {
  const numbers = sparseNumbers(entry);
  const put = (into: Buffer, start: number, count: number): void => {
    for (let index = 0; index < count && numbers.length > 0; index += 1) {
      number(into, start + 24 * index, 12, numbers.shift()!, 'gnu');
      number(into, start + 24 * index + 12, 12, numbers.shift()!, 'gnu');
    }
  };
  put(block, 386, 4);
  block[482] = numbers.length > 0 ? 1 : 0;
  number(block, 483, 12, entry.sizeBytes, 'gnu');
  const blocks = [sealed(block)];
  while (numbers.length > 0) {
    const more = Buffer.alloc(BLOCK);
    put(more, 0, 21);
    more[504] = numbers.length > 0 ? 1 : 0;
    blocks.push(more);
  }
  return blocks;
}

// Few names, so that entries meet: they replace each other, go through each other's links, and lie in each other.
const name = fc.oneof(
  { weight: 40, arbitrary: fc.constantFrom('a', 'b', 'c') },
  { weight: 4, arbitrary: fc.constantFrom('canary', '\xff\xfe', 'a b\nc', "'$(x)`", '-rf', '.a') },
  { weight: 1, arbitrary: fc.constantFrom('n'.repeat(255), 'm'.repeat(120), 'too-long'.repeat(33)) },
);
const odd = fc.constantFrom('.', '..', '');
const parts = fc.array(fc.oneof({ weight: 25, arbitrary: name }, { weight: 1, arbitrary: odd }), {
  minLength: 1,
  maxLength: 4,
});
const deep = fc.array(fc.constantFrom('p'.repeat(130), 'q'.repeat(90)), { minLength: 2, maxLength: 4 });
const place = fc
  .tuple(
    fc.oneof({ weight: 20, arbitrary: fc.constant('') }, fc.constantFrom('/', './', '/../', '//', '../')),
    fc.oneof({ weight: 15, arbitrary: parts }, { weight: 1, arbitrary: deep }),
    fc.oneof({ weight: 20, arbitrary: fc.constant('') }, fc.constantFrom('/', '/.')),
  )
  .map(([before, between, after]) => before + between.join('/') + after);
const root = fc.constantFrom('.', './', '/', 'a/..');
const path = fc.oneof({ weight: 25, arbitrary: place }, { weight: 1, arbitrary: root });
const marker = fc
  .tuple(
    fc.oneof(
      fc.constant(''),
      place.map((folder) => `${folder}/`),
    ),
    fc.oneof(name, fc.constant('.wh..opq')),
  )
  // `.wh.` and a name of 255 bytes is no file for GNU tar, but a whiteout for us.
  .filter(([, hidden]) => hidden.length < 250)
  .map(([folder, hidden]) => `${folder}.wh.${hidden}`);

/** The entry, which fast-check then shows in one line. */
function readable(entry: ForeignEntry): ForeignEntry {
  const { kind, path, target, mode, uid, gid, seconds, nanoseconds, body, xattrs, dialect } = entry;
  const text = `${kind} ${JSON.stringify(path)}${target && ` -> ${JSON.stringify(target)}`} ${mode.toString(8)} ${uid}:${gid}`;
  const map = entry.extents.map(({ offset, bytes }) => `${offset}+${bytes.length}`).join();
  const data = kind === 'sparse' ? `${entry.sparseFormat} ${map} of ${entry.sizeBytes}` : `${body.length} bytes`;
  const rest = `${seconds}+${nanoseconds}ns ${data} ${dialect}`;
  const attributes = xattrs.map(([key, value]) => `${key}=${value.toString('hex')}`).join();
  return Object.defineProperty(entry, fc.toStringMethod, { value: () => `\n  ${text} ${rest} ${attributes}` });
}

/** @param outside a path of the host, with a canary behind it */
function entries(outside: string): fc.Arbitrary<ForeignEntry> {
  const linkTarget = fc.oneof(
    { weight: 8, arbitrary: place },
    { weight: 3, arbitrary: fc.constantFrom('/', '..', '../..', '.', '../../../../..', 'a', 'b', '/a', '../b') },
    { weight: 2, arbitrary: fc.constantFrom(outside, `..${outside}`, `../../../../../../..${outside}`, '../canary') },
  );
  const hardTarget = fc.oneof(
    { weight: 20, arbitrary: fc.constantFrom('a', 'b', 'c', '/a', './b') },
    { weight: 10, arbitrary: place },
    { weight: 1, arbitrary: fc.constantFrom('../canary', outside, `${outside}/a`, 'a/../../canary') },
  );
  const xattr = fc.oneof(
    fc.tuple(fc.constantFrom('user.a', 'user.b', 'trusted.a'), fc.uint8Array({ maxLength: 20 }).map(Buffer.from)),
    fc.constant<[string, Buffer]>([
      'security.capability',
      Buffer.from('0100000200040000000000000000000000000000', 'hex'),
    ]),
  );
  const extents = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 9000 }), fc.integer({ min: 1, max: 2000 })), { maxLength: 30 })
    .map((pairs) => {
      let end = 0;
      return pairs.map(([gap, length], index): Extent => {
        const offset = end + gap;
        // GNU tar starts each extent in a block of its own, others do not; what GNU tar writes ends on one, but the last.
        const sizeBytes = index === pairs.length - 1 ? length : BLOCK * Math.ceil(length / BLOCK);
        end = offset + sizeBytes;
        return { offset, bytes: Buffer.alloc(sizeBytes, index + 1) };
      });
    });
  const id = fc.oneof(fc.constantFrom(0, 1, 1000, 65_534), fc.constantFrom(0o7777777, 2 ** 21, 2 ** 31, 2 ** 32 - 2));
  const kind = fc.oneof(
    { weight: 6, arbitrary: fc.constant('file' as const) },
    { weight: 6, arbitrary: fc.constant('directory' as const) },
    { weight: 6, arbitrary: fc.constant('link' as const) },
    { weight: 3, arbitrary: fc.constant('hardlink' as const) },
    {
      weight: 3,
      arbitrary: fc.constantFrom('fifo' as const, 'character' as const, 'block' as const, 'sparse' as const),
    },
  );
  const entry = fc
    .record({
      ...{ kind, path, marker, linkTarget, hardTarget, uid: id, gid: id, extents },
      isMarker: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
      mode: fc.oneof(fc.constantFrom(0o755, 0o644, 0o4755, 0o1777, 0), fc.integer({ min: 0, max: 0o7777 })),
      // Not 0: by that time the engine's own folders are known.
      seconds: fc.constantFrom(1, 1_000_000_000, 2 ** 31 - 1, 2 ** 33, -1, -86_400),
      nanoseconds: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 999_999_999 })),
      // 0:0 is overlayfs' whiteout, which only markers may make here.
      device: fc.tuple(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 1, max: 300 })),
      body: fc.oneof(fc.uint8Array({ maxLength: 600 }), fc.constant(new Uint8Array(3 * BLOCK))).map(Buffer.from),
      hole: fc.integer({ min: 0, max: 5000 }),
      sparseFormat: fc.constantFrom<SparseFormat>('old', '0.0', '0.1', '1.0'),
      xattrs: fc.uniqueArray(xattr, { maxLength: 3, selector: ([key]) => key }),
      dialect: fc.constantFrom<ForeignEntry['dialect']>('pax', 'gnu'),
    })
    .map(({ isMarker, marker, linkTarget, hardTarget, hole, ...one }): ForeignEntry => {
      const last = one.extents.at(-1);
      const sizeBytes = (last === undefined ? 0 : last.offset + last.bytes.length) + hole;
      const target = one.kind === 'link' ? linkTarget : one.kind === 'hardlink' ? hardTarget : '';
      const isDevice = one.kind === 'character' || one.kind === 'block';
      const device: [number, number] = isDevice ? one.device : [0, 0];
      // `a/.` is a folder's path, `a/` too: but a file of that name is one, as it was before tar knew folders.
      // Not so `/`, also as `//.`: as a file, GNU tar cannot open it.
      const ending = one.kind === 'directory' ? /$/ : one.kind === 'file' ? /^\/+(\/\.)*$|(\/\.)+$/ : /(\/\.?)+$/;
      const path = one.path.replace(ending, '') || 'a';
      const body = path.endsWith('/') ? Buffer.alloc(0) : one.body;
      // Only programs have capabilities.
      const isFile = (one.kind === 'file' && !path.endsWith('/')) || one.kind === 'sparse';
      // GNU tar forgets those of a root that is named twice.
      const isRoot = /(^|\/)\.\.(\/|$)|^[./]*$/.test(path);
      const xattrs = one.xattrs.filter(([key]) => (isFile || key !== 'security.capability') && !isRoot);
      const told = { ...one, path, body, xattrs, sizeBytes, device, target };
      if (!isMarker) return readable(told);
      return readable({ ...told, target: '', kind: 'file', path: marker, body: Buffer.alloc(0) });
    });
  return entry;
}

/** Archives in which anything may happen, small enough to be many. */
export function foreignArchives(outside: string): fc.Arbitrary<ForeignEntry[]> {
  return fc.array(entries(outside), { minLength: 1, maxLength: 10 });
}
