import { createHash } from 'node:crypto';
import { TareError } from '../errors/index.ts';
import type { HostFacts } from './host-facts.ts';

/** `--security-opt`, split. */
export interface SecurityOptions {
  /** 'default', 'unconfined', or a profile's JSON text. */
  seccomp: string;
  /** undefined: the host's default. */
  apparmor: string | undefined;
  /** What followed `label=`: `user:U`, `role:R`, `type:T`, `level:L`, `disable`, … */
  labels: string[];
  noNewPrivileges: boolean;
  /** Nothing of /proc and /sys is masked or read-only. */
  unconfinedSystemPaths: boolean;
  /** Whether /sys/fs/cgroup can be written; undefined: only by privileged containers. */
  writableCgroups: boolean | undefined;
}

/**
 * Splits security options; `=` or, in the old style, `:` parts key from value.
 * @throws {TareError} InvalidArgument with docker's text
 */
export function parseSecurityOptions(options: readonly string[]): SecurityOptions {
  const result: SecurityOptions = {
    seccomp: 'default',
    apparmor: undefined,
    labels: [],
    noNewPrivileges: false,
    unconfinedSystemPaths: false,
    writableCgroups: undefined,
  };
  for (const option of options) {
    if (option === 'no-new-privileges') {
      result.noNewPrivileges = true;
      continue;
    }
    if (option === 'writable-cgroups') {
      result.writableCgroups = true;
      continue;
    }
    if (option === 'disable') {
      result.labels.push('disable');
      continue;
    }
    const at = option.includes('=') ? option.indexOf('=') : option.indexOf(':');
    if (at < 0) throw invalid(1, option);
    const value = option.slice(at + 1);
    switch (option.slice(0, at)) {
      case 'label':
        checkLabel(value, option);
        result.labels.push(value);
        break;
      case 'apparmor':
        result.apparmor = value;
        break;
      case 'seccomp':
        result.seccomp = value === '' || value === 'builtin' ? 'default' : value;
        break;
      case 'no-new-privileges':
        result.noNewPrivileges = parseBoolean(value, option);
        break;
      case 'writable-cgroups':
        result.writableCgroups = parseBoolean(value, option);
        break;
      case 'systempaths':
        if (value !== 'unconfined') throw invalid(2, option);
        result.unconfinedSystemPaths = true;
        break;
      default:
        throw invalid(2, option);
    }
  }
  return result;
}

const invalid = (which: 1 | 2, option: string) =>
  new TareError('InvalidArgument', `invalid --security-opt ${which}: ${JSON.stringify(option)}`);

const truths = new Set(['1', 't', 'T', 'TRUE', 'true', 'True']);
const falsehoods = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False']);

function parseBoolean(value: string, option: string): boolean {
  if (truths.has(value)) return true;
  if (falsehoods.has(value)) return false;
  throw invalid(2, option);
}

const labelKeys = new Set(['user', 'role', 'type', 'level', 'filetype']);

function checkLabel(value: string, option: string): void {
  if (value === 'disable' || value === 'nested') return;
  const [key = '', ...rest] = value.split(':');
  if (!labelKeys.has(key) || rest.join(':') === '') {
    throw new TareError(
      'InvalidArgument',
      `invalid --security-opt ${JSON.stringify(option)}: bad label option, valid options 'disable' or \n'user, role, level, type, filetype' followed by ':' and a value`,
    );
  }
}

/**
 * The SELinux labels of a container, on a host that has SELinux; undefined where nothing is to be labelled.
 *
 * Two categories derived from the container's id keep containers apart (as MCS does), unless a level is given.
 */
export function selinuxLabels(
  options: SecurityOptions,
  id: string,
  privileged: boolean,
  selinux: HostFacts['selinux'],
): { process: string; mount: string } | undefined {
  if (selinux === undefined || privileged || options.labels.includes('disable')) return undefined;
  const process = selinux.processLabel.split(':');
  const mount = selinux.mountLabel.split(':');
  let level: string | undefined;
  for (const option of options.labels) {
    const at = option.indexOf(':');
    const value = option.slice(at + 1);
    switch (option.slice(0, at)) {
      case 'user':
        process[0] = value;
        mount[0] = value;
        break;
      case 'role':
        process[1] = value;
        break;
      case 'type':
        process[2] = value;
        break;
      case 'filetype':
        mount[2] = value;
        break;
      case 'level':
        level = value;
        break;
    }
  }
  level ??= `s0:${categories(id)}`;
  return { process: [...process.slice(0, 3), level].join(':'), mount: [...mount.slice(0, 3), level].join(':') };
}

function categories(id: string): string {
  const hash = createHash('sha256').update(id).digest();
  const first = hash.readUInt16LE(0) % 1024;
  // The second differs from the first by 1 to 1023, so there are always two.
  const second = (first + 1 + (hash.readUInt16LE(2) % 1023)) % 1024;
  return `c${Math.min(first, second)},c${Math.max(first, second)}`;
}

/** The AppArmor profile to ask the runtime for. */
export function apparmorProfile(
  options: SecurityOptions,
  privileged: boolean,
  apparmor: HostFacts['apparmor'],
): string | undefined {
  if (apparmor === undefined) return undefined;
  if (options.apparmor !== undefined && options.apparmor !== '') return options.apparmor;
  return privileged ? 'unconfined' : apparmor.defaultProfile;
}
