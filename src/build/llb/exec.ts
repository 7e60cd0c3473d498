import { create } from '@bufbuild/protobuf';
import {
  CacheOptSchema,
  CacheSharingOpt,
  CDIDeviceSchema,
  ExecOpSchema,
  HostIPSchema,
  MetaSchema,
  type Mount,
  MountSchema,
  MountType,
  type NetMode,
  ProxyEnvSchema,
  SecretEnvSchema,
  SecretOptSchema,
  SecurityMode,
  SSHOptSchema,
  TmpfsOptSchema,
  UlimitSchema,
} from '../../protocol/index.ts';
import {
  type InputTable,
  type OperationPlatform,
  type Output,
  present,
  type Vertex,
  type VertexNotes,
} from './vertex.ts';

/** A place in a step's tree where another tree, or a cache, lies. */
export interface ExecMount {
  target: string;
  /** Undefined: the empty tree. */
  source: Output | undefined;
  /** What of the source is mounted. */
  selector?: string;
  isReadOnly?: boolean;
  /** What is written is lost. */
  hasNoOutput?: boolean;
  cache?: { id: string; sharing: 'shared' | 'private' | 'locked' };
  tmpfs?: { sizeBytes: number };
}

export interface SecretMount {
  id: string;
  /** Undefined: no file is made. */
  target: string | undefined;
  env: string | undefined;
  uid: number;
  gid: number;
  mode: number;
  isOptional: boolean;
}

export interface SshMount {
  id: string;
  /** Undefined: `/run/buildkit/ssh_agent.N`. */
  target: string | undefined;
  uid: number;
  gid: number;
  mode: number;
  isOptional: boolean;
}

export interface ProxySettings {
  http: string;
  https: string;
  ftp: string;
  no: string;
  all: string;
}

export interface ExecSpec {
  root: Output | undefined;
  args: readonly string[];
  env: ReadonlyMap<string, string>;
  directory: string;
  user: string;
  hostname?: string;
  cgroupParent?: string;
  mounts?: readonly ExecMount[];
  secrets?: readonly SecretMount[];
  ssh?: readonly SshMount[];
  /** Takes no part in the cache key. */
  proxy?: ProxySettings | undefined;
  extraHosts?: readonly { host: string; ip: string }[];
  ulimits?: readonly { name: string; soft: bigint; hard: bigint }[];
  network: NetMode;
  isInsecure?: boolean;
  devices?: readonly { name: string; isOptional: boolean }[];
  platform: OperationPlatform | undefined;
}

const sharings = {
  shared: CacheSharingOpt.SHARED,
  private: CacheSharingOpt.PRIVATE,
  locked: CacheSharingOpt.LOCKED,
} as const;

const isWritten = (mount: ExecMount): boolean =>
  mount.hasNoOutput !== true && mount.isReadOnly !== true && mount.cache === undefined && mount.tmpfs === undefined;

/**
 * Runs a command.
 * @returns the root's tree afterwards, and those of its mounts: undefined for those that keep nothing
 */
export function exec(spec: ExecSpec, notes: VertexNotes = {}): { root: Output; mounts: (Output | undefined)[] } {
  const given: ExecMount[] = [{ target: '/', source: spec.root }, ...(spec.mounts ?? [])];
  const mounts = given.toSorted((a, b) => (a.target < b.target ? -1 : a.target > b.target ? 1 : 0));
  const written = mounts.filter(isWritten);
  const vertex: Vertex = {
    inputs: present(mounts.map((mount) => mount.source)),
    notes,
    capabilities: capabilitiesOf(spec),
    platform: spec.platform,
    encode: (table) => ({ case: 'exec', value: encodeExec(spec, mounts, written, table) }),
  };
  const outputOf = (mount: ExecMount): Output | undefined => {
    const index = written.indexOf(mount);
    return index < 0 ? undefined : { vertex, index };
  };
  return { root: outputOf(given[0]!)!, mounts: given.slice(1).map(outputOf) };
}

function encodeExec(spec: ExecSpec, mounts: readonly ExecMount[], written: readonly ExecMount[], table: InputTable) {
  const ssh = (spec.ssh ?? []).map((mount, i) => ({
    ...mount,
    target: mount.target ?? `/run/buildkit/ssh_agent.${i}`,
  }));
  const env = [...spec.env].map(([key, value]) => `${key}=${value}`);
  if (ssh[0] !== undefined && !spec.env.has('SSH_AUTH_SOCK')) env.push(`SSH_AUTH_SOCK=${ssh[0].target}`);
  return create(ExecOpSchema, {
    meta: create(MetaSchema, {
      args: [...spec.args],
      env,
      cwd: spec.directory,
      user: spec.user,
      hostname: spec.hostname ?? '',
      cgroupParent: spec.cgroupParent ?? '',
      removeMountStubsRecursive: true,
      extraHosts: (spec.extraHosts ?? []).map(({ host, ip }) => create(HostIPSchema, { Host: host, IP: ip })),
      ulimit: (spec.ulimits ?? []).map(({ name, soft, hard }) =>
        create(UlimitSchema, { Name: name, Soft: soft, Hard: hard }),
      ),
      ...(spec.proxy === undefined ? {} : { proxyEnv: encodeProxy(spec.proxy) }),
    }),
    network: spec.network,
    security: spec.isInsecure === true ? SecurityMode.INSECURE : SecurityMode.SANDBOX,
    mounts: [
      ...mounts.map((mount) => encodeMount(mount, table.indexOf(mount.source), written.indexOf(mount))),
      ...(spec.secrets ?? []).flatMap((secret) =>
        secret.target === undefined ? [] : [encodeSecret(secret.target, secret)],
      ),
      ...ssh.map((mount) =>
        create(MountSchema, {
          input: -1n,
          dest: mount.target,
          mountType: MountType.SSH,
          SSHOpt: create(SSHOptSchema, {
            ID: mount.id,
            uid: mount.uid,
            gid: mount.gid,
            mode: mount.mode,
            optional: mount.isOptional,
          }),
        }),
      ),
    ],
    secretenv: (spec.secrets ?? []).flatMap(({ id, env: name, isOptional }) =>
      name === undefined ? [] : [create(SecretEnvSchema, { ID: id, name, optional: isOptional })],
    ),
    cdiDevices: (spec.devices ?? []).map(({ name, isOptional }) =>
      create(CDIDeviceSchema, { name, optional: isOptional }),
    ),
  });
}

const encodeProxy = (proxy: ProxySettings) =>
  create(ProxyEnvSchema, {
    httpProxy: proxy.http,
    httpsProxy: proxy.https,
    ftpProxy: proxy.ftp,
    noProxy: proxy.no,
    allProxy: proxy.all,
  });

function encodeMount(mount: ExecMount, input: bigint, output: number): Mount {
  return create(MountSchema, {
    input,
    dest: mount.target,
    readonly: mount.isReadOnly === true,
    output: BigInt(output),
    selector: mount.selector ?? '',
    ...(mount.cache === undefined
      ? {}
      : {
          mountType: MountType.CACHE,
          cacheOpt: create(CacheOptSchema, { ID: mount.cache.id, sharing: sharings[mount.cache.sharing] }),
        }),
    ...(mount.tmpfs === undefined
      ? {}
      : {
          mountType: MountType.TMPFS,
          TmpfsOpt: create(TmpfsOptSchema, { size: BigInt(mount.tmpfs.sizeBytes) }),
        }),
  });
}

const encodeSecret = (target: string, secret: SecretMount): Mount =>
  create(MountSchema, {
    input: -1n,
    dest: target,
    mountType: MountType.SECRET,
    secretOpt: create(SecretOptSchema, {
      ID: secret.id,
      uid: secret.uid,
      gid: secret.gid,
      mode: secret.mode,
      optional: secret.isOptional,
    }),
  });

function capabilitiesOf(spec: ExecSpec): string[] {
  const mounts = spec.mounts ?? [];
  const needed: [boolean, string][] = [
    [true, 'exec.meta.base'],
    [true, 'exec.meta.setsdefaultpath'],
    [true, 'exec.mount.bind'],
    [(spec.ulimits ?? []).length > 0, 'exec.meta.ulimit'],
    [spec.network !== 0, 'exec.meta.network'],
    [spec.isInsecure === true, 'exec.meta.security'],
    [spec.proxy !== undefined, 'exec.meta.proxyenv'],
    [(spec.cgroupParent ?? '') !== '', 'exec.meta.cgroup.parent'],
    [(spec.devices ?? []).length > 0, 'exec.meta.cdi'],
    [mounts.some((mount) => (mount.selector ?? '') !== ''), 'exec.mount.selector'],
    [mounts.some((mount) => mount.cache !== undefined), 'exec.mount.cache'],
    [mounts.some((mount) => mount.cache !== undefined), 'exec.mount.cache.sharing'],
    [mounts.some((mount) => mount.tmpfs !== undefined), 'exec.mount.tmpfs'],
    [mounts.some((mount) => (mount.tmpfs?.sizeBytes ?? 0) > 0), 'exec.mount.tmpfs.size'],
    [(spec.secrets ?? []).length > 0, 'exec.mount.secret'],
    [(spec.secrets ?? []).some(({ env }) => env !== undefined), 'exec.secretenv'],
    [(spec.ssh ?? []).length > 0, 'exec.mount.ssh'],
  ];
  return needed.flatMap(([isNeeded, name]) => (isNeeded ? [name] : []));
}
