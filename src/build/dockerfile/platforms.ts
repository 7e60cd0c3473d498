import { formatPlatform } from '../../image/index.ts';
import type { Platform } from '../../storage/index.ts';
import type * as llb from '../llb/index.ts';

/** A platform as operations have it. */
export const operationPlatform = (
  platform: Platform,
): llb.OperationPlatform & { variant?: string; osVersion?: string } => ({
  os: platform.os,
  architecture: platform.architecture,
  ...(platform.variant === undefined ? {} : { variant: platform.variant }),
  ...(platform['os.version'] === undefined ? {} : { osVersion: platform['os.version'] }),
});

/** The arguments that every Dockerfile has, global ones; the client's values come first. */
export function platformArgs(
  build: Platform,
  target: Platform,
  stageName: string | undefined,
  given: ReadonlyMap<string, string>,
): Map<string, string> {
  const own: [string, string][] = [
    ['BUILDPLATFORM', formatPlatform(build)],
    ['BUILDOS', build.os],
    ['BUILDOSVERSION', build['os.version'] ?? ''],
    ['BUILDARCH', build.architecture],
    ['BUILDVARIANT', build.variant ?? ''],
    ['TARGETPLATFORM', formatPlatform(target)],
    ['TARGETOS', target.os],
    ['TARGETOSVERSION', target['os.version'] ?? ''],
    ['TARGETARCH', target.architecture],
    ['TARGETVARIANT', target.variant ?? ''],
    ['TARGETSTAGE', stageName ?? 'default'],
  ];
  return new Map(own.map(([key, value]) => [key, given.get(key) ?? value]));
}
