import { TareError } from '../errors/index.ts';
import type { HostFacts } from './host-facts.ts';
import { rawNumber } from './json-number.ts';
import type { OciRlimit } from './oci-spec.ts';
import type { Ulimit } from './settings.ts';

const names = new Set([
  'as',
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
]);

/** Docker writes RLIM_INFINITY as -1. */
const unlimited = -1;

/**
 * Checks that limits make sense and that this host can set them.
 * @throws {TareError} InvalidArgument: unknown name, soft above hard; Forbidden: above our own hard limit and we cannot raise it
 */
export function checkUlimits(
  ulimits: readonly Ulimit[],
  facts: Pick<HostFacts, 'hardLimits' | 'canRaiseLimits'>,
): void {
  for (const { name, soft, hard } of ulimits) {
    if (!names.has(name)) throw new TareError('InvalidArgument', `invalid ulimit type: ${name}`);
    if (![soft, hard].every((value) => Number.isInteger(value) && value >= -1)) {
      throw new TareError(
        'InvalidArgument',
        `ulimit ${name}: want whole numbers or -1 for unlimited, not ${soft}:${hard}`,
      );
    }
    if (asNumber(soft) > asNumber(hard)) {
      throw new TareError(
        'InvalidArgument',
        `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`,
      );
    }
    const ceiling = facts.hardLimits[name] ?? Number.POSITIVE_INFINITY;
    if (!facts.canRaiseLimits && asNumber(hard) > ceiling) {
      throw new TareError(
        'InvalidArgument',
        `ulimit ${name}: the hard limit ${hard} is above this host's ${ceiling}, which cannot be raised without CAP_SYS_RESOURCE: ask for at most ${ceiling}`,
      );
    }
  }
}

const infinity = rawNumber(2n ** 64n - 1n);
const toOci = (limit: number) => (limit === unlimited ? infinity : limit);
const asNumber = (limit: number) => (limit === unlimited ? Number.POSITIVE_INFINITY : limit);

/** Limits as `process.rlimits` has them; of one name the last counts. */
export function toRlimits(ulimits: readonly Ulimit[]): OciRlimit[] {
  const byType = new Map<string, OciRlimit>();
  for (const { name, soft, hard } of ulimits) {
    const type = `RLIMIT_${name.toUpperCase()}`;
    byType.set(type, { type, hard: toOci(hard), soft: toOci(soft) });
  }
  return [...byType.values()];
}
