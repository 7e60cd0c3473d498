import { TareError } from '../errors/index.ts';
import { isRawNumber, parseExact } from './json-number.ts';
import type { OciSeccomp, OciSyscallRule } from './oci-spec.ts';

/** A profile as users and distributions write it: OCI's object with conditions on host and container. */
export interface SeccompProfile {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: string[] | null;
  archMap?: { architecture: string; subArchitectures?: string[] | null }[] | null;
  flags?: string[] | null;
  listenerPath?: string;
  listenerMetadata?: string;
  syscalls?: SeccompRule[] | null;
}

interface SeccompRule {
  name?: string;
  names?: string[] | null;
  action: string;
  errnoRet?: number;
  args?: SeccompArgument[] | null;
  includes?: SeccompCondition;
  excludes?: SeccompCondition;
}

type SeccompArgument = NonNullable<OciSyscallRule['args']>[number];

interface SeccompCondition {
  caps?: string[] | null;
  /** Go's names: amd64, arm64, x32, x86. */
  arches?: string[] | null;
  /** `major.minor` */
  minKernel?: string;
}

export interface SeccompTarget {
  /** Go's name: amd64, arm64, … */
  architecture: string;
  kernel: readonly [major: number, minor: number];
  /** The container's bounding set. */
  capabilities: readonly string[];
}

const nativeArchitecture: Record<string, string> = {
  amd64: 'SCMP_ARCH_X86_64',
  arm64: 'SCMP_ARCH_AARCH64',
  arm: 'SCMP_ARCH_ARM',
  '386': 'SCMP_ARCH_X86',
  ppc64le: 'SCMP_ARCH_PPC64LE',
  riscv64: 'SCMP_ARCH_RISCV64',
  s390x: 'SCMP_ARCH_S390X',
};

const actions = new Set([
  'SCMP_ACT_KILL',
  'SCMP_ACT_KILL_PROCESS',
  'SCMP_ACT_KILL_THREAD',
  'SCMP_ACT_TRAP',
  'SCMP_ACT_ERRNO',
  'SCMP_ACT_TRACE',
  'SCMP_ACT_ALLOW',
  'SCMP_ACT_LOG',
  'SCMP_ACT_NOTIFY',
]);

const operators = new Set([
  'SCMP_CMP_NE',
  'SCMP_CMP_LT',
  'SCMP_CMP_LE',
  'SCMP_CMP_EQ',
  'SCMP_CMP_GE',
  'SCMP_CMP_GT',
  'SCMP_CMP_MASKED_EQ',
]);

const maxProfileBytes = 1024 * 1024;

/**
 * Reads a profile's JSON text and checks its shape.
 * @throws {TareError} InvalidArgument
 */
export function parseSeccompProfile(text: string): SeccompProfile {
  if (text.length > maxProfileBytes) throw invalid(`it is longer than ${maxProfileBytes} bytes`);
  let profile: unknown;
  try {
    profile = parseExact(text);
  } catch (error) {
    throw invalid((error as Error).message, error);
  }
  if (!isObject(profile)) throw invalid('want a JSON object');
  if (typeof profile['defaultAction'] !== 'string' || !actions.has(profile['defaultAction'])) {
    throw invalid(`unknown defaultAction ${JSON.stringify(profile['defaultAction'])}`);
  }
  if (!isList(profile['architectures'], isString)) throw invalid('architectures must be a list of names');
  if (!isList(profile['flags'], isString)) throw invalid('flags must be a list of names');
  if (!isList(profile['archMap'], isArchitectureEntry)) throw invalid('archMap must be a list of architectures');
  if (!isList(profile['syscalls'], isObject)) throw invalid('syscalls must be a list of rules');
  for (const rule of (profile['syscalls'] as Record<string, unknown>[] | null) ?? []) checkRule(rule);
  return profile as unknown as SeccompProfile;
}

function checkRule(rule: Record<string, unknown>): void {
  const { name, names } = rule;
  if (name !== undefined && name !== '' && Array.isArray(names) && names.length > 0) {
    throw invalid("'name' and 'names' were specified in the seccomp profile, use either 'name' or 'names'");
  }
  if (!isList(names, isString) || (name !== undefined && !isString(name))) {
    throw invalid('the names of a rule must be text');
  }
  const where = `the rule for ${name || (names as string[] | null)?.[0] || 'nothing'}`;
  if (!isString(rule['action']) || !actions.has(rule['action'])) {
    throw invalid(`${where} has an unknown action ${JSON.stringify(rule['action'])}`);
  }
  if (rule['errnoRet'] !== undefined && !isUint(rule['errnoRet'])) {
    throw invalid(`${where} has an errnoRet that is no number`);
  }
  const isArgument = (value: unknown) =>
    isObject(value) &&
    isUint(value['index']) &&
    isUint(value['value']) &&
    (value['valueTwo'] === undefined || isUint(value['valueTwo'])) &&
    operators.has(value['op'] as string);
  if (!isList(rule['args'], isArgument)) throw invalid(`${where} has a malformed argument`);
  for (const condition of [rule['includes'], rule['excludes']]) {
    if (condition === undefined || condition === null) continue;
    if (!isObject(condition) || !isList(condition['caps'], isString) || !isList(condition['arches'], isString)) {
      throw invalid(`${where} has a malformed condition`);
    }
    const { minKernel } = condition;
    if (minKernel !== undefined && !(isString(minKernel) && /^(\d+\.\d+)?$/.test(minKernel))) {
      throw invalid(`${where} has a minKernel that is not MAJOR.MINOR`);
    }
  }
}

/** The OCI object of a profile for one container: conditions decided, architectures of this host. */
export function toOciSeccomp(profile: SeccompProfile, target: SeccompTarget): OciSeccomp {
  const syscalls: OciSyscallRule[] = [];
  for (const rule of profile.syscalls ?? []) {
    if (!applies(rule, target)) continue;
    const names = rule.name ? [rule.name] : (rule.names ?? []);
    if (names.length === 0) continue;
    syscalls.push({
      names,
      action: rule.action,
      ...(rule.errnoRet !== undefined && { errnoRet: rule.errnoRet }),
      ...(rule.args?.length && { args: rule.args.map(argument) }),
    });
  }
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: architecturesOf(profile, target),
    ...(profile.flags?.length && { flags: profile.flags }),
    ...(profile.listenerPath && { listenerPath: profile.listenerPath }),
    ...(profile.listenerMetadata && { listenerMetadata: profile.listenerMetadata }),
    syscalls,
  };
}

const argument = ({ index, value, valueTwo, op }: SeccompArgument): SeccompArgument => ({
  index,
  value,
  ...(valueTwo ? { valueTwo } : {}),
  op,
});

function architecturesOf(profile: SeccompProfile, target: SeccompTarget): string[] {
  if (profile.architectures?.length) return profile.architectures;
  const native = nativeArchitecture[target.architecture];
  if (native === undefined) return [];
  const entry = profile.archMap?.find(({ architecture }) => architecture === native);
  return [native, ...(entry?.subArchitectures ?? [])];
}

function applies({ includes, excludes }: SeccompRule, target: SeccompTarget): boolean {
  const has = (capability: string) => target.capabilities.includes(capability);
  if (includes?.arches?.length && !includes.arches.includes(target.architecture)) return false;
  if (includes?.caps?.length && !includes.caps.every(has)) return false;
  if (includes?.minKernel && !atLeast(target.kernel, includes.minKernel)) return false;
  if (excludes?.arches?.includes(target.architecture)) return false;
  if (excludes?.caps?.some(has)) return false;
  if (excludes?.minKernel && atLeast(target.kernel, excludes.minKernel)) return false;
  return true;
}

function atLeast([major, minor]: readonly [number, number], version: string): boolean {
  const [wantMajor = 0, wantMinor = 0] = version.split('.').map(Number);
  return major > wantMajor || (major === wantMajor && minor >= wantMinor);
}

const isString = (value: unknown): value is string => typeof value === 'string';
const isUint = (value: unknown) =>
  isRawNumber(value)
    ? /^\d{1,20}$/.test(value.rawJSON)
    : typeof value === 'number' && value >= 0 && Number.isInteger(value);
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isArchitectureEntry = (value: unknown) =>
  isObject(value) && isString(value['architecture']) && isList(value['subArchitectures'], isString);
/** Absent, null (as Go writes an empty list) or a list of such members. */
const isList = (value: unknown, isMember: (member: unknown) => boolean) =>
  value === undefined || value === null || (Array.isArray(value) && value.every(isMember));

const invalid = (why: string, cause?: unknown) =>
  new TareError('InvalidArgument', `invalid --security-opt seccomp: Decoding seccomp profile failed: ${why}`, {
    cause,
  });
