import { existsSync, readFileSync } from 'node:fs';
import { TareError } from '../../errors/index.ts';

const FOLDER = '/proc/sys/fs/binfmt_misc';

/** What binfmt-support and others call the interpreters of foreign programs: qemu's names of architectures. */
const qemuNames: Readonly<Record<string, string>> = {
  '386': 'i386',
  amd64: 'x86_64',
  arm: 'arm',
  arm64: 'aarch64',
  loong64: 'loongarch64',
  mips64: 'mips64',
  mips64le: 'mips64el',
  ppc64le: 'ppc64le',
  riscv64: 'riscv64',
  s390x: 's390x',
};

/** Architectures whose programs another one's processors run. */
const runsToo: Readonly<Record<string, readonly string[]>> = { amd64: ['386'], arm64: ['arm'] };

/**
 * How a step for an architecture runs on this host.
 *
 * @param host as Go calls it: amd64, arm64 …
 * @returns a program of the host that the step must find at the same path; undefined: it needs none
 * @throws {TareError} Unsupported: nothing runs such programs here
 */
export function emulatorFor(architecture: string, host: string, folder = FOLDER): string | undefined {
  if (architecture === '' || architecture === host || runsToo[host]?.includes(architecture)) return undefined;
  const name = qemuNames[architecture];
  const entry = name === undefined ? '' : readOr(`${folder}/qemu-${name}`);
  if (!entry.startsWith('enabled\n')) {
    throw new TareError(
      'Unsupported',
      `steps for linux/${architecture} cannot run on this host (linux/${host}): install an emulator that registers with the kernel (Debian: qemu-user-static and binfmt-support)`,
    );
  }
  // F: the kernel keeps the interpreter open itself.
  if (/^flags: .*F/m.test(entry)) return undefined;
  const interpreter = /^interpreter (.+)$/m.exec(entry)?.[1];
  return interpreter !== undefined && existsSync(interpreter) ? interpreter : undefined;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
