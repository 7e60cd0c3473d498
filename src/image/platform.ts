import { TareError } from '../errors/index.ts';
import type { Platform } from '../storage/index.ts';

// Go's names (GOARCH) for Node's.
const hostArchitectures: Record<string, { architecture: string; variant?: string }> = {
  x64: { architecture: 'amd64' },
  ia32: { architecture: '386' },
  arm: { architecture: 'arm', variant: 'v7' },
  arm64: { architecture: 'arm64', variant: 'v8' },
  riscv64: { architecture: 'riscv64' },
  ppc64: { architecture: 'ppc64le' },
  s390x: { architecture: 's390x' },
  loong64: { architecture: 'loong64' },
};

const aliases: Record<string, { architecture: string; variant?: string }> = {
  i386: { architecture: '386' },
  x86_64: { architecture: 'amd64' },
  'x86-64': { architecture: 'amd64' },
  aarch64: { architecture: 'arm64' },
  armhf: { architecture: 'arm', variant: 'v7' },
  armel: { architecture: 'arm', variant: 'v6' },
};

const componentPattern = /^[A-Za-z0-9_.-]+$/;

/** The platform that this machine runs natively. */
export function hostPlatform(): Platform {
  return { os: 'linux', ...(hostArchitectures[process.arch] ?? { architecture: process.arch }) };
}

/**
 * Parses `os[/architecture[/variant]]`, or an architecture alone. What is left out is the host's.
 *
 * @throws {TareError} InvalidArgument
 * @see containerd/platforms, "Parse"
 */
export function parsePlatform(text: string): Platform {
  const parts = text.split('/');
  if (parts.length > 3 || parts.some((part) => !componentPattern.test(part))) {
    throw new TareError(
      'InvalidArgument',
      `"${text}" is an invalid OS or architecture: want os/architecture[/variant], such as linux/arm64`,
    );
  }
  const [first, second, third] = parts.map((part) => part.toLowerCase());
  if (second === undefined) {
    if (first === 'linux') return hostPlatform();
    if (isKnownOS(first!)) return normalized({ os: first!, architecture: hostPlatform().architecture });
    if (isKnownArchitecture(first!)) return normalized({ os: 'linux', architecture: first! });
    throw new TareError('InvalidArgument', `"${text}": unknown operating system or architecture`);
  }
  return normalized({ os: first!, architecture: second, ...(third === undefined ? {} : { variant: third }) });
}

const isKnownOS = (text: string): boolean =>
  ['linux', 'windows', 'darwin', 'freebsd', 'netbsd', 'openbsd', 'solaris', 'wasi', 'wasip1', 'js'].includes(text);
const isKnownArchitecture = (text: string): boolean =>
  text in aliases || Object.values(hostArchitectures).some((known) => known.architecture === text);

/** One spelling for each platform: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`. */
export function normalized(platform: Platform): Platform {
  const alias = aliases[platform.architecture] ?? { architecture: platform.architecture };
  const variant = platform.variant === undefined || platform.variant === '' ? alias.variant : platform.variant;
  const result: Platform = { ...platform, os: platform.os.toLowerCase(), architecture: alias.architecture };
  delete result.variant;
  const isImplied = variant === undefined || (alias.architecture === 'arm64' && (variant === 'v8' || variant === '8'));
  if (alias.architecture === 'arm' && variant === undefined) result.variant = 'v7';
  else if (!isImplied) result.variant = /^[5-9]$/.test(variant) ? `v${variant}` : variant;
  return result;
}

/** `linux/arm/v7` */
export const formatPlatform = (platform: Platform): string =>
  [platform.os, platform.architecture, platform.variant].filter((part) => part !== undefined && part !== '').join('/');

/**
 * How well a machine that wants `wanted` is served by `offered`.
 *
 * @returns 0: not at all; higher is better. ARM machines run older variants; an image without an architecture fits any.
 */
export function platformFit(offered: Platform, wanted: Platform): number {
  const image = normalized(offered);
  const machine = normalized(wanted);
  if (image.os !== machine.os && image.os !== '') return 0;
  if (image.architecture === '') return 1;
  if (image.architecture !== machine.architecture) return 0;
  if (image.variant === machine.variant) return 100;
  const age = variantNumber(machine.variant, machine.architecture) - variantNumber(image.variant, image.architecture);
  return age < 0 ? 0 : 99 - age;
}

const variantNumber = (variant: string | undefined, architecture: string): number => {
  const digits = /^v?([0-9]+)/.exec(variant ?? '')?.[1];
  if (digits !== undefined) return Number(digits);
  return architecture === 'arm64' ? 8 : architecture === 'arm' ? 7 : 1;
};

/** The best of several for a machine; undefined when none fits. The first of equals wins. */
export function bestPlatform<T>(
  choices: readonly T[],
  platformOf: (choice: T) => Platform,
  wanted: Platform,
): T | undefined {
  let best: T | undefined;
  let bestFit = 0;
  for (const choice of choices) {
    const fit = platformFit(platformOf(choice), wanted);
    if (fit > bestFit) [best, bestFit] = [choice, fit];
  }
  return best;
}
