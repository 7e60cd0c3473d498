import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TareError } from '../errors/index.ts';
import { hostPlatform } from '../image/index.ts';
import type { BuildPlatform } from './build-types.ts';

/** What a kernel does with programs that are not its own. */
const FOLDER = '/proc/sys/fs/binfmt_misc';

/** What programs of an architecture begin with (ELF, `e_ident` to `e_machine`). */
interface ProgramKind {
  bits: 32 | 64;
  isBigEndian?: boolean;
  machine: number;
}

const kinds: Readonly<Record<string, ProgramKind>> = {
  amd64: { bits: 64, machine: 62 },
  arm64: { bits: 64, machine: 183 },
  riscv64: { bits: 64, machine: 243 },
  ppc64le: { bits: 64, machine: 21 },
  s390x: { bits: 64, isBigEndian: true, machine: 22 },
  '386': { bits: 32, machine: 3 },
  mips64le: { bits: 64, machine: 8 },
  mips64: { bits: 64, isBigEndian: true, machine: 8 },
  loong64: { bits: 64, machine: 258 },
  arm: { bits: 32, machine: 40 },
};

/** Architectures whose programs another one's processors run. */
const runsToo: Readonly<Record<string, readonly string[]>> = { amd64: ['386'], arm64: ['arm'] };
/** Instructions that an emulator of these has, newest first. */
const variants: Readonly<Record<string, readonly string[]>> = { arm: ['v7', 'v6'] };

/** A program that the kernel runs programs of other kinds with. */
interface Interpreter {
  path: string;
  /** The kernel keeps it open by itself: it need not be found where the program runs. */
  isOpen: boolean;
}

/**
 * What steps can be run for here: the host's own platform first, then what its processors run as well and what the kernel has an
 * emulator for, whoever registered it.
 *
 * @see Linux, admin-guide/binfmt-misc.rst
 */
export function runnablePlatforms(folder = FOLDER): BuildPlatform[] {
  const { os, architecture: own, variant } = hostPlatform();
  const entries = readEntries(folder);
  const others = Object.keys(kinds).filter(
    (one) => one !== own && (runsToo[own]?.includes(one) === true || interpreterOf(one, entries) !== undefined),
  );
  return [
    { os, architecture: own, ...(variant === undefined ? {} : { variant }) },
    ...others.flatMap((architecture) =>
      (variants[architecture] ?? [undefined]).map((one) => ({
        ...{ os, architecture },
        ...(one === undefined ? {} : { variant: one }),
      })),
    ),
  ];
}

/**
 * How a step for an architecture runs on this host.
 *
 * @param host as Go calls it: amd64, arm64 …
 * @returns a program of the host that the step must find at the same path; undefined: it needs none
 * @throws {TareError} Unsupported: nothing runs such programs here
 */
export function emulatorFor(architecture: string, host: string, folder = FOLDER): string | undefined {
  if (architecture === '' || architecture === host || runsToo[host]?.includes(architecture)) return undefined;
  const interpreter = interpreterOf(architecture, readEntries(folder));
  if (interpreter === undefined) {
    throw new TareError(
      'Unsupported',
      `steps for linux/${architecture} cannot run on this host (linux/${host}): install an emulator that registers with the kernel (Debian: qemu-user-static and binfmt-support)${
        existsSync(join(folder, 'status')) ? '' : `, and mount binfmt_misc at ${folder}`
      }; steps of FROM --platform=$BUILDPLATFORM need none`,
    );
  }
  return interpreter.isOpen || !existsSync(interpreter.path) ? undefined : interpreter.path;
}

interface Entry extends Interpreter {
  offset: number;
  magic: Buffer;
  mask: Buffer | undefined;
}

function interpreterOf(architecture: string, entries: readonly Entry[]): Interpreter | undefined {
  const kind = kinds[architecture];
  if (kind === undefined) return undefined;
  const header = headerOf(kind);
  return entries.find(({ offset, magic, mask }) =>
    magic.every((byte, at) => ((header[offset + at] ?? 0) & (mask?.[at] ?? 0xff)) === byte),
  );
}

/** The first bytes of an executable of this kind, for Linux, in the latest version of the format. */
function headerOf({ bits, isBigEndian = false, machine }: ProgramKind): Buffer {
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, isBigEndian ? 2 : 1, 1]);
  const [type, version] = [2, 1];
  for (const [value, at] of [
    [type, 16],
    [machine, 18],
  ] as const) {
    if (isBigEndian) header.writeUInt16BE(value, at);
    else header.writeUInt16LE(value, at);
  }
  if (isBigEndian) header.writeUInt32BE(version, 20);
  else header.writeUInt32LE(version, 20);
  return header;
}

/** Entries that are in force and know programs by what they begin with. None: the file system is not mounted here. */
function readEntries(folder: string): Entry[] {
  if (readOr(join(folder, 'status')).trim() !== 'enabled') return [];
  return readdirSync(folder)
    .filter((name) => name !== 'status' && name !== 'register')
    .flatMap((name) => entryOf(readOr(join(folder, name))));
}

function entryOf(text: string): Entry[] {
  const field = (key: string) => new RegExp(`^${key} (.+)$`, 'm').exec(text)?.[1];
  const magic = field('magic');
  const path = field('interpreter');
  if (!text.startsWith('enabled\n') || magic === undefined || path === undefined) return [];
  const mask = field('mask');
  return [
    {
      path,
      isOpen: /^flags: .*F/m.test(text),
      offset: Number(field('offset') ?? '0'),
      magic: Buffer.from(magic, 'hex'),
      mask: mask === undefined ? undefined : Buffer.from(mask, 'hex'),
    },
  ];
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
