import { readdirSync } from 'node:fs';
import { hostPlatform } from '../image/index.ts';
import type { BuildPlatform } from './build-types.ts';

const emulated: Record<string, BuildPlatform> = {
  aarch64: { os: 'linux', architecture: 'arm64' },
  arm: { os: 'linux', architecture: 'arm', variant: 'v7' },
  i386: { os: 'linux', architecture: '386' },
  loongarch64: { os: 'linux', architecture: 'loong64' },
  mips64: { os: 'linux', architecture: 'mips64' },
  mips64el: { os: 'linux', architecture: 'mips64le' },
  ppc64le: { os: 'linux', architecture: 'ppc64le' },
  riscv64: { os: 'linux', architecture: 'riscv64' },
  s390x: { os: 'linux', architecture: 's390x' },
  x86_64: { os: 'linux', architecture: 'amd64' },
};

/** What steps can be run for here: the host's own platform first, then those that the kernel has an interpreter for (binfmt_misc). */
export function runnablePlatforms(): BuildPlatform[] {
  const { os, architecture, variant } = hostPlatform();
  const own: BuildPlatform = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  const others = interpreters()
    .map((name) => emulated[name.replace(/^qemu-/, '')])
    .filter((platform) => platform !== undefined && platform.architecture !== own.architecture);
  return [own, ...(others as BuildPlatform[])];
}

function interpreters(): string[] {
  try {
    return readdirSync('/proc/sys/fs/binfmt_misc').filter((name) => name.startsWith('qemu-'));
  } catch {
    // Not mounted: there are none.
    return [];
  }
}
