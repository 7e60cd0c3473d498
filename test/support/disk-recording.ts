import { execFileSync } from 'node:child_process';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type Stats } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { CallArgument, SystemCall } from './system-calls.ts';

/** Every call has as many as its name says. */
type Arguments = [CallArgument, CallArgument, ...(CallArgument | undefined)[]];

/** A file, folder, link or device, whatever names it has. */
export interface DiskNode {
  type: 'file' | 'folder' | 'link' | 'other';
  /** With the type's bits, as st_mode. */
  mode: number;
  uid: number;
  gid: number;
  /** Seconds and nanoseconds, as `utimensat` takes them. */
  modifySeconds: number;
  /** A link's target. */
  target: string;
  /** A device's number, as st_rdev. */
  device: number;
  /** Extended attributes, as they were when recording began. */
  xattrs: Map<string, Buffer>;
  /** What a file held, and a folder's names, when recording began. */
  bytes: Buffer;
  names: Map<string, DiskNode>;
}

/** One thing that programs did to the disk. */
export type DiskChange =
  | { kind: 'name'; folders: [DiskNode]; name: string; node: DiskNode }
  | { kind: 'unname'; folders: [DiskNode]; name: string }
  | { kind: 'move'; folders: [from: DiskNode, to: DiskNode]; from: string; name: string; node: DiskNode }
  | { kind: 'write'; node: DiskNode; offset: number; bytes: Buffer }
  | { kind: 'truncate'; node: DiskNode; sizeBytes: number }
  | { kind: 'set'; node: DiskNode; what: Partial<Pick<DiskNode, 'mode' | 'uid' | 'gid' | 'modifySeconds'>> }
  | { kind: 'setXattr'; node: DiskNode; key: string; value: Buffer }
  /** Without a node: the whole file system. */
  | { kind: 'sync'; node: DiskNode | undefined };

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

const typeOf = (mode: number): DiskNode['type'] => {
  const type = mode & S_IFMT;
  return type === S_IFDIR ? 'folder' : type === S_IFREG ? 'file' : type === S_IFLNK ? 'link' : 'other';
};

const made = (mode: number, more: Partial<DiskNode> = {}): DiskNode => ({
  ...{ type: typeOf(mode), mode, uid: 0, gid: 0, modifySeconds: Date.now() / 1000, target: '', device: 0 },
  ...{ xattrs: new Map(), bytes: Buffer.alloc(0), names: new Map(), ...more },
});

/** The disk as it is, from one folder down. */
export function scanDisk(path: string): DiskNode {
  const seen = new Map<number, DiskNode>();
  const scan = (at: string): DiskNode => {
    const status: Stats = lstatSync(at);
    const known = seen.get(status.ino);
    if (known !== undefined) return known;
    const { mode, uid, gid, mtimeMs, rdev } = status;
    const node = made(mode, { uid, gid, modifySeconds: mtimeMs / 1000, device: rdev });
    seen.set(status.ino, node);
    if (node.type === 'file') node.bytes = readFileSync(at);
    if (node.type === 'link') node.target = readlinkSync(at);
    if (node.type === 'folder') for (const name of readdirSync(at)) node.names.set(name, scan(join(at, name)));
    return node;
  };
  const root = scan(path);
  const found = execFileSync('getfattr', ['-RPhd', '-m', '-', '-e', 'hex', '--absolute-names', path], {
    encoding: 'utf8',
  });
  for (const file of found.split('\n\n')) {
    const [, at, ...lines] = /^# file: (.*)$/m.exec(file) === null ? [] : ['', ...file.trim().split('\n')];
    let node: DiskNode | undefined = root;
    for (const name of (at ?? '').replace('# file: ', '').slice(path.length).split('/')) {
      if (name !== '') node = node?.names.get(name);
    }
    for (const line of lines) {
      const [key = '', value = ''] = line.split('=');
      node?.xattrs.set(key, Buffer.from(value.replace(/^0x/, ''), 'hex'));
    }
  }
  return root;
}

/**
 * What system calls did to the disk below a folder.
 *
 * @param root the folder as it was before the first call; stays as it is
 * @param path where it is
 * @throws a call that this cannot follow
 */
export function changesOf(calls: Iterable<SystemCall>, root: DiskNode, path: string): DiskChange[] {
  const follower = new Follower(root, path);
  for (const call of calls) follower.take(call);
  return follower.changes;
}

class Follower {
  readonly changes: DiskChange[] = [];
  readonly #path: string;
  /** Names as they are now. */
  readonly #names = new Map<DiskNode, Map<string, DiskNode>>();
  readonly #root: DiskNode;
  /** Of every process: threads share descriptors, and commands that follow each other number theirs anew. */
  readonly #paths = new Map<number, string>();
  readonly #positions = new Map<number, number>();

  constructor(root: DiskNode, path: string) {
    this.#root = root;
    this.#path = path;
    this.#know(root);
  }

  take(call: SystemCall): void {
    const { name, args, result } = call;
    if (call.resultPath !== undefined) this.#paths.set(result, call.resultPath);
    for (const { fd, path } of args) if (fd !== undefined && path !== undefined) this.#paths.set(fd, path);
    if (result >= 0) this.#calls[name]?.(args as Arguments, call);
  }

  readonly #calls: Record<string, (args: Arguments, call: SystemCall) => void> = {
    open: ([, flags, mode], call) => this.#open(call, flags.text, mode?.text),
    openat: ([, , flags, mode], call) => this.#open(call, flags!.text, mode?.text),
    openat2: ([, , how], call) => this.#open(call, how!.text, /mode=(\d+)/.exec(how!.text)?.[1]),
    lseek: ([file], { result }) => this.#positions.set(file.fd!, result),
    write: ([file, data], { result }) => this.#writeOn(file, data.bytes!.subarray(0, result)),
    writev: ([file, data], { result }) => this.#writeOn(file, data.bytes!.subarray(0, result)),
    pwrite64: ([file, data, , at], { result }) =>
      this.#write(file.path, Number(at!.text), data.bytes!.subarray(0, result)),
    pwritev: ([file, data, , at], { result }) =>
      this.#write(file.path, Number(at!.text), data.bytes!.subarray(0, result)),
    ftruncate: ([file, size]) =>
      this.#add(file.path, (node) => ({ kind: 'truncate', node, sizeBytes: Number(size.text) })),
    mkdir: ([path, mode]) => this.#make(path.string!, made(S_IFDIR | Number.parseInt(mode.text, 8))),
    mkdirat: ([folder, name, mode]) =>
      this.#make(this.#at(folder, name), made(S_IFDIR | Number.parseInt(mode!.text, 8))),
    symlink: ([target, path]) => this.#make(path.string!, made(S_IFLNK | 0o777, { target: target.string! })),
    symlinkat: ([target, folder, name]) =>
      this.#make(this.#at(folder, name!), made(S_IFLNK | 0o777, { target: target.string! })),
    mknodat: ([folder, name, mode, device]) => this.#make(this.#at(folder, name), madeNode(mode!.text, device?.text)),
    link: ([from, to]) => this.#link(from.string!, to.string!),
    linkat: ([fromFolder, from, toFolder, to]) => this.#link(this.#at(fromFolder, from), this.#at(toFolder!, to!)),
    unlink: ([path]) => this.#remove(path.string!),
    rmdir: ([path]) => this.#remove(path.string!),
    unlinkat: ([folder, name]) => this.#remove(this.#at(folder, name)),
    rename: ([from, to]) => this.#move(from.string!, to.string!),
    renameat: ([fromFolder, from, toFolder, to]) => this.#move(this.#at(fromFolder, from), this.#at(toFolder!, to!)),
    renameat2: ([fromFolder, from, toFolder, to, flags], call) => {
      if (/EXCHANGE|WHITEOUT/.test(flags!.text)) cannotFollow(call);
      this.#move(this.#at(fromFolder, from), this.#at(toFolder!, to!));
    },
    fsync: ([file]) => this.#add(file.path, (node) => ({ kind: 'sync', node })),
    fdatasync: ([file]) => this.#add(file.path, (node) => ({ kind: 'sync', node })),
    syncfs: ([file]) => this.#add(file.path, () => ({ kind: 'sync', node: undefined })),
    sync: () => this.changes.push({ kind: 'sync', node: undefined }),
    chmod: ([path, mode]) => this.#setMode(this.#resolved(path.string!), mode.text),
    fchmod: ([file, mode]) => this.#setMode(file.path, mode.text),
    fchmodat: ([folder, name, mode]) => this.#setMode(this.#at(folder, name), mode!.text),
    fchmodat2: ([folder, name, mode]) => this.#setMode(this.#at(folder, name), mode!.text),
    chown: ([path, uid, gid]) => this.#setOwner(this.#resolved(path.string!), uid.text, gid!.text),
    lchown: ([path, uid, gid]) => this.#setOwner(path.string, uid.text, gid!.text),
    fchown: ([file, uid, gid]) => this.#setOwner(file.path, uid.text, gid!.text),
    fchownat: ([folder, name, uid, gid]) => this.#setOwner(this.#at(folder, name), uid!.text, gid!.text),
    utimensat: ([folder, name, times]) => this.#setTime(folder, name, times!.text),
    setxattr: ([path, key, value]) => this.#setXattr(this.#resolved(path.string!), key.string!, value!.bytes!),
    lsetxattr: ([path, key, value]) => this.#setXattr(this.#resolved(path.string!), key.string!, value!.bytes!),
    fsetxattr: ([file, key, value]) => this.#setXattr(file.path, key.string!, value!.bytes!),
    ...Object.fromEntries(
      ['creat', 'truncate', 'fallocate', 'copy_file_range', 'sendfile', 'splice', 'mknod', 'pwritev2'].map((name) => [
        name,
        (args: Arguments, call: SystemCall) => {
          if (args.some((arg) => this.#isInside(arg?.path) || this.#isInside(arg?.string))) cannotFollow(call);
        },
      ]),
    ),
  };

  #isInside(path: string | undefined): path is string {
    return path !== undefined && (path === this.#path || path.startsWith(`${this.#path}/`));
  }

  /** A path through the kernel's own view of an open descriptor. */
  #resolved(path: string): string {
    const match = /^\/proc\/self\/fd\/(\d+)(.*)$/.exec(path);
    return match === null ? path : (this.#paths.get(Number(match[1])) ?? '') + match[2]!;
  }

  #at(folder: CallArgument, name: CallArgument): string {
    const text = name.string ?? '';
    return this.#resolved(text.startsWith('/') ? text : join(folder.path ?? '', text));
  }

  #know(node: DiskNode): void {
    if (node.type !== 'folder' || this.#names.has(node)) return;
    this.#names.set(node, new Map(node.names));
    for (const child of node.names.values()) this.#know(child);
  }

  #node(path: string | undefined): DiskNode | undefined {
    if (!this.#isInside(path)) return undefined;
    let node: DiskNode | undefined = this.#root;
    for (const name of path.slice(this.#path.length).split('/')) {
      if (name !== '') node = node && this.#names.get(node)?.get(name);
    }
    return node;
  }

  #folder(path: string): DiskNode {
    const folder = this.#node(dirname(path));
    if (folder === undefined) throw new Error(`no folder of ${path} is known`);
    return folder;
  }

  #add(path: string | undefined, change: (node: DiskNode) => DiskChange): void {
    const node = this.#node(path);
    // Nameless files are of no use after a power cut.
    if (node !== undefined) this.changes.push(change(node));
  }

  #open(call: SystemCall, flags: string, mode: string | undefined): void {
    const path = call.resultPath;
    // Where an appended write goes is not recorded.
    this.#positions.set(call.result, flags.includes('O_APPEND') ? Number.NaN : 0);
    if (!this.#isInside(path) || !flags.includes('O_CREAT')) return;
    const known = this.#node(path);
    if (known === undefined) this.#make(path, made(S_IFREG | Number.parseInt(mode ?? '0', 8)));
    else if (flags.includes('O_TRUNC')) this.changes.push({ kind: 'truncate', node: known, sizeBytes: 0 });
  }

  #writeOn(file: CallArgument, bytes: Buffer): void {
    const at = this.#positions.get(file.fd!) ?? 0;
    if (Number.isNaN(at) && this.#isInside(file.path)) throw new Error(`${file.path} is appended to: cannot follow`);
    this.#positions.set(file.fd!, at + bytes.length);
    this.#write(file.path, at, bytes);
  }

  #write(path: string | undefined, offset: number, bytes: Buffer): void {
    this.#add(path, (node) => ({ kind: 'write', node, offset, bytes: Buffer.from(bytes) }));
  }

  #make(path: string, node: DiskNode): void {
    if (!this.#isInside(path)) return;
    this.#know(node);
    this.#name(path, node);
  }

  #name(path: string, node: DiskNode): void {
    const folder = this.#folder(path);
    this.#names.get(folder)!.set(basename(path), node);
    this.changes.push({ kind: 'name', folders: [folder], name: basename(path), node });
  }

  #link(from: string, to: string): void {
    const node = this.#node(from);
    if (node !== undefined) this.#name(to, node);
  }

  #remove(path: string): void {
    if (!this.#isInside(path)) return;
    const folder = this.#folder(path);
    this.#names.get(folder)!.delete(basename(path));
    this.changes.push({ kind: 'unname', folders: [folder], name: basename(path) });
  }

  #move(from: string, to: string): void {
    if (!this.#isInside(from) || !this.#isInside(to)) return;
    const folders: [DiskNode, DiskNode] = [this.#folder(from), this.#folder(to)];
    const node = this.#node(from);
    if (node === undefined) throw new Error(`${from} is moved, but not known`);
    this.#names.get(folders[0])!.delete(basename(from));
    this.#names.get(folders[1])!.set(basename(to), node);
    this.changes.push({ kind: 'move', folders, from: basename(from), name: basename(to), node });
  }

  #setMode(path: string | undefined, mode: string): void {
    const permissions = Number.parseInt(mode, 8);
    this.#add(path, (node) => ({ kind: 'set', node, what: { mode: (node.mode & S_IFMT) | permissions } }));
  }

  #setOwner(path: string | undefined, uid: string, gid: string): void {
    this.#add(path, (node) => ({ kind: 'set', node, what: { uid: Number(uid), gid: Number(gid) } }));
  }

  #setTime(folder: CallArgument, name: CallArgument, times: string): void {
    const [, time] = [...times.matchAll(/tv_sec=(-?\d+), tv_nsec=(\d+)/g)];
    if (time === undefined) return;
    const modifySeconds = Number(time[1]) + Number(time[2]) / 1e9;
    const path = name.string === undefined ? folder.path : this.#at(folder, name);
    this.#add(path, (node) => ({ kind: 'set', node, what: { modifySeconds } }));
  }

  #setXattr(path: string | undefined, key: string, value: Buffer): void {
    this.#add(path, (node) => ({ kind: 'setXattr', node, key, value: Buffer.from(value) }));
  }
}

function cannotFollow({ line }: SystemCall): never {
  throw new Error(`a recording cannot follow this call: ${line.slice(0, 300)}`);
}

/** @param device as strace shows it: `makedev(0x1, 0x3)` */
function madeNode(mode: string, device = ''): DiskNode {
  const [kind = '', permissions = '0'] = mode.split('|');
  const type = { S_IFCHR: 0o020000, S_IFBLK: 0o060000, S_IFIFO: 0o010000, S_IFREG: S_IFREG }[kind];
  if (type === undefined) throw new Error(`cannot follow a node of mode ${mode}`);
  const [, major = 0, minor = 0] = (/makedev\((0x[0-9a-f]+|0), (0x[0-9a-f]+|0)\)/.exec(device) ?? []).map(Number);
  return made(type | Number.parseInt(permissions, 8), {
    device: (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12),
  });
}
