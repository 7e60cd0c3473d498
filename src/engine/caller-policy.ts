import { realpathSync } from 'node:fs';
import { kindOf, TareError } from '../errors/index.ts';
import { canonicalName, parseReference, type Reference } from '../image/index.ts';
import { containerCapabilities, type HostFacts } from '../runtime/index.ts';
import type { CallerPolicy, CallerRules } from './caller-policy-config.ts';
import { type Caller, formatCaller } from './callers.ts';
import { currentRequest } from './request-context.ts';
import type { ContainerRecord, MountPoint, VolumeRecord } from './types.ts';

type Checked = Pick<ContainerRecord, 'id' | 'host' | 'mounts'>;

export interface GuardDeps {
  /** As it is now: a reload changes it. */
  config: { callerPolicy?: CallerPolicy };
  facts: Pick<HostFacts, 'capabilities'>;
  store: { get(ref: string): ContainerRecord };
  volumes: { find(name: string): VolumeRecord | undefined };
}

const JOINED = /^container:(.*)$/;

/**
 * Holds callers to the rules that the configuration has for them. It looks at records as they will be run, so that it is all the same
 * how a request was written. What the engine does of its own accord, and whoever runs it in his own process, is not held to any.
 */
export class CallerGuard {
  readonly #deps: GuardDeps;
  constructor(deps: GuardDeps) {
    this.#deps = deps;
  }

  /**
   * Whether the caller at work may make a container, run it, or reach into it.
   *
   * @param made volumes that have no record yet
   * @throws {TareError} Forbidden: the rule, and what breaks it
   */
  checkContainer(record: Checked, made: readonly VolumeRecord[] = []): void {
    const held = this.#held();
    if (held !== undefined) this.#check(held, record, made, new Set());
  }

  /** Notes in new binds within which folder they must stay when they are mounted, whoever does. @throws {TareError} Forbidden */
  confineBinds(mounts: readonly MountPoint[]): void {
    const held = this.#held();
    const allowed = held?.rules.allowedBindSources;
    if (held === undefined || allowed === undefined) return;
    for (const mount of mounts) {
      // What comes from another container may be confined already, and more narrowly.
      if (mount.type === 'bind' && mount.within === undefined) mount.within = folderOf(held, allowed, mount.source);
    }
  }

  /** Whether the caller at work may run something in a container as privileged. @throws {TareError} Forbidden */
  checkExec(record: Checked, { privileged }: { privileged: boolean }): void {
    const held = this.#held();
    if (held === undefined) return;
    this.#check(held, record, [], new Set());
    if (privileged && restrictsPrivileged(held.rules)) throw refusal(held, 'deny-privileged', 'the exec is privileged');
  }

  /**
   * Whether the caller at work may take a container up from a folder of the host's. What processes are then is in its files, and
   * whoever wrote them may have made them privileged.
   * @throws {TareError} Forbidden
   */
  checkRestore(directory: string): void {
    const held = this.#held();
    if (held !== undefined && restrictsPrivileged(held.rules))
      throw refusal(held, 'deny-privileged', `a checkpoint in ${directory} may hold privileged processes`);
  }

  /** Whether a volume's options show no folder of the host that the caller at work may not bind. @throws {TareError} Forbidden */
  checkVolume(volume: Pick<VolumeRecord, 'name' | 'options'>): void {
    const held = this.#held();
    if (held !== undefined) checkVolumeSource(held, volume);
  }

  /**
   * What says of a registry's repository whether the caller at work may pull it; for work that goes on when the request is answered.
   * @returns throws {TareError} Forbidden
   */
  registryCheck(): (reference: Reference) => void {
    const held = this.#held();
    const allowed = held?.rules.allowedRegistries;
    if (held === undefined || allowed === undefined) return () => {};
    return (reference) => {
      const name = canonicalName(reference);
      if (allowed.some((prefix) => name === prefix || name.startsWith(`${prefix}/`))) return;
      throw refusal(held, 'allowed-registries', `${name} is not in ${allowed.join(', ')}`);
    };
  }

  /** Whether the caller at work may bring images that no registry vouches for. @throws {TareError} Forbidden */
  checkOwnImages(what: string): void {
    const held = this.#held();
    if (held?.rules.allowedRegistries !== undefined)
      throw refusal(held, 'allowed-registries', `${what} brings images of no registry`);
  }

  /**
   * Whether the caller at work may build with what the build is allowed beyond a plain one.
   * @returns asked of each of its sources; throws {TareError} Forbidden
   * @throws {TareError} Forbidden
   */
  checkBuild(entitlements: readonly string[]): ((identifier: string) => void) | undefined {
    const held = this.#held();
    if (held === undefined) return undefined;
    const { rules } = held;
    if (entitlements.includes('security.insecure') && restrictsPrivileged(rules))
      throw refusal(held, 'deny-privileged', 'commands of the build may be privileged');
    if (entitlements.includes('network.host') && rules.denyHostNamespaces)
      throw refusal(held, 'deny-host-namespaces', "commands of the build may share the host's network namespace");
    const device = entitlements.find((each) => each === 'device' || each.startsWith('device='));
    if (device !== undefined && rules.denyDevices)
      throw refusal(held, 'deny-devices', `commands of the build may have devices of the host (${device})`);
    const effective = containerCapabilities({ privileged: false, add: [], drop: [] }, this.#deps.facts.capabilities);
    const denied = rules.deniedCapabilities.find((name) => effective.includes(`CAP_${name}`));
    if (denied !== undefined)
      throw refusal(held, 'denied-capabilities', `commands of builds have CAP_${denied}, which they cannot give up`);
    const mayPull = this.registryCheck();
    return (identifier) => {
      const [, scheme, name = ''] = /^([a-z-]+):\/\/(.*)$/s.exec(identifier) ?? [];
      if (scheme === 'docker-image') mayPull(parseReference(name));
      else if (scheme === 'oci-layout' && rules.allowedRegistries !== undefined)
        throw refusal(held, 'allowed-registries', 'an OCI layout at the client brings images of no registry');
    };
  }

  #held(): Held | undefined {
    const policy = this.#deps.config.callerPolicy;
    const caller = currentRequest()?.caller;
    if (policy === undefined || caller === undefined) return undefined;
    return { caller, rules: rulesFor(policy, caller) };
  }

  #check(held: Held, record: Checked, made: readonly VolumeRecord[], seen: Set<string>): void {
    if (seen.has(record.id)) return;
    seen.add(record.id);
    const { rules } = held;
    const { host } = record;
    if (host.privileged && restrictsPrivileged(rules))
      throw refusal(held, 'deny-privileged', 'the container is privileged');
    if (rules.denyHostNamespaces) checkNamespaces(held, host);
    if (rules.denyDevices) checkDevices(held, host);
    if (rules.denyUnconfined) checkConfinement(held, host);
    this.#checkCapabilities(held, host);
    for (const mount of record.mounts) this.#checkMount(held, mount, made);
    // Who shares a container's namespaces reaches what it has.
    for (const mode of [host.networkMode, host.pidMode, host.ipcMode]) {
      const ref = JOINED.exec(mode)?.[1];
      const joined = ref === undefined ? undefined : this.#joined(ref);
      if (joined !== undefined) this.#check(held, joined, made, seen);
    }
  }

  /** One that is gone has nothing to be reached. */
  #joined(ref: string): ContainerRecord | undefined {
    try {
      return this.#deps.store.get(ref);
    } catch (error) {
      if (kindOf(error) === 'NotFound') return undefined;
      throw error;
    }
  }

  #checkCapabilities(held: Held, { privileged, capAdd, capDrop }: ContainerRecord['host']): void {
    const { deniedCapabilities } = held.rules;
    if (deniedCapabilities.length === 0) return;
    const effective = containerCapabilities({ privileged, add: capAdd, drop: capDrop }, this.#deps.facts.capabilities);
    const denied = deniedCapabilities.find((name) => effective.includes(`CAP_${name}`));
    if (denied !== undefined)
      throw refusal(held, 'denied-capabilities', `the container has CAP_${denied}; drop it with --cap-drop ${denied}`);
  }

  #checkMount(held: Held, mount: MountPoint, made: readonly VolumeRecord[]): void {
    const allowed = held.rules.allowedBindSources;
    if (allowed === undefined) return;
    if (mount.type === 'volume') {
      const volume = made.find(({ name }) => name === mount.name) ?? this.#deps.volumes.find(mount.name);
      if (volume !== undefined) checkVolumeSource(held, volume);
    } else if (mount.type === 'bind') {
      folderOf(held, allowed, mount.source);
      // Made when nobody said where it must stay: its links count as they are now.
      if (mount.within === undefined) folderOf(held, allowed.map(realPath), realPath(mount.source));
    }
  }
}

interface Held {
  caller: Caller;
  rules: CallerRules;
}

function rulesFor({ everybody, callers }: CallerPolicy, caller: Caller): CallerRules {
  const own = callers.find(({ uids, certificates }) => {
    if (caller.kind === 'user') return uids.includes(caller.uid);
    return caller.kind === 'certificate' && certificates.includes(caller.name);
  });
  return own?.rules ?? everybody;
}

/** A privileged container could do all that the other rules forbid. */
const restrictsPrivileged = (rules: CallerRules): boolean =>
  rules.denyPrivileged ||
  rules.denyHostNamespaces ||
  rules.denyDevices ||
  rules.denyUnconfined ||
  rules.deniedCapabilities.length > 0 ||
  rules.allowedBindSources !== undefined;

function checkNamespaces(held: Held, host: ContainerRecord['host']): void {
  const { networkMode, pidMode, ipcMode, utsMode, usernsMode } = host;
  // Not that of cgroups: it is the host's by default on hosts with cgroups of version 1, and shows no more than names.
  const modes = { networkMode, pidMode, ipcMode, utsMode, usernsMode };
  const shared = Object.entries(modes).find(([, mode]) => mode === 'host')?.[0];
  if (shared !== undefined)
    throw refusal(
      held,
      'deny-host-namespaces',
      `the container shares the host's ${shared.replace('Mode', '')} namespace`,
    );
}

function checkDevices(held: Held, { devices, deviceCgroupRules, deviceRequests }: ContainerRecord['host']): void {
  if (devices.length + deviceCgroupRules.length + deviceRequests.length > 0)
    throw refusal(held, 'deny-devices', 'the container asks for devices of the host');
}

const confining = /^no-new-privileges(?:[:=]true)?$/;

function checkConfinement(held: Held, host: ContainerRecord['host']): void {
  const option = host.securityOpt.find((text) => !confining.test(text));
  if (option !== undefined) throw refusal(held, 'deny-unconfined', `the container has --security-opt ${option}`);
  if (host.maskedPaths !== null || host.readonlyPaths !== null)
    throw refusal(held, 'deny-unconfined', 'the container says itself which paths are hidden or read-only');
}

/** NFS and the like are no folder of ours, so they are refused as well. */
function checkVolumeSource(held: Held, { name, options }: Pick<VolumeRecord, 'name' | 'options'>): void {
  const allowed = held.rules.allowedBindSources;
  const { type = '', device = '' } = options;
  if (allowed === undefined || device === '' || type === 'tmpfs') return;
  const isInside = device.startsWith('/') && isAllowed(allowed.map(realPath), realPath(device));
  if (!isInside) throw notAllowed(held, allowed, `volume ${name} shows ${device}`);
}

/** The allowed folder that a source is in. @throws {TareError} Forbidden: it is in none */
function folderOf(held: Held, allowed: readonly string[], source: string): string {
  const folder = allowed.find((each) => isAllowed([each], source));
  if (folder === undefined) throw notAllowed(held, allowed, `the container binds ${source}`);
  return folder;
}

const notAllowed = (held: Held, allowed: readonly string[], what: string) =>
  refusal(
    held,
    'allowed-bind-sources',
    `${what}, which is not in ${allowed.join(', ') || 'any folder, for none is allowed'}`,
  );

const isAllowed = (folders: readonly string[], path: string): boolean =>
  !path.split('/').includes('..') &&
  folders.some((folder) => path === folder || folder === '/' || path.startsWith(`${folder}/`));

/** Of what is not there yet: as it is written. */
function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

function refusal({ caller }: Held, rule: string, why: string): TareError {
  return new TareError(
    'Forbidden',
    `policy ${rule}: ${why}; the configuration does not let ${formatCaller(caller)} do so`,
  );
}
