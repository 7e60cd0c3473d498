import { isIP } from 'node:net';
import { TareError } from '../../errors/index.ts';
import { type HostIP, type Meta, type NetMode, SecurityMode } from '../../protocol/index.ts';
import {
  applyCdiEdits,
  applyHostDefaults,
  buildSpec,
  CdiDevices,
  type CdiEdits,
  type HostConfig,
  type HostFacts,
  isQualifiedName,
  knowsRecursiveReadOnly,
  type OciSpec,
  plainContainer,
  plainHost,
  type ResolvedUser,
  type RuntimeBinary,
  resolveDevices,
  type SpecMount,
  standardCdiFolders,
} from '../../runtime/index.ts';

/** As BuildKit calls the host that steps run on. */
const STEP_HOSTNAME = 'buildkitsandbox';
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** A name in /etc/hosts: what cannot begin a line or a column of its own. */
const HOST_NAME = /^[^\s#]{1,255}$/;

/** What a command may use, as of a container. */
export type StepLimits = Partial<
  Pick<
    HostConfig,
    'memoryBytes' | 'memorySwapBytes' | 'cpuShares' | 'cpuPeriod' | 'cpuQuota' | 'cpusetCpus' | 'cpusetMems'
  >
>;

export interface StepSpecInput {
  id: string;
  meta: Meta;
  security: SecurityMode;
  capabilities?: { add: readonly string[]; drop: readonly string[] } | undefined;
  network: { mode: NetMode; path: string | undefined };
  user: ResolvedUser;
  rootfs: string;
  isReadOnlyRoot: boolean;
  mounts: readonly SpecMount[];
  /** Variables beside those of `meta`. */
  secretEnv: readonly string[];
  files: { hosts: string; resolvConf: string; areReadOnly: boolean };
  cgroupsPath: string;
  limits: StepLimits | undefined;
  terminal: boolean;
  runtime: RuntimeBinary;
  facts: HostFacts;
}

/** `config.json` of a step: a container's with nothing asked for, and in the words of a build. */
export function stepSpec(input: StepSpecInput): OciSpec {
  const { id, meta, network, facts, user } = input;
  const host: HostConfig = applyHostDefaults(
    {
      ...plainHost,
      ...input.limits,
      privileged: input.security === SecurityMode.INSECURE,
      ...(input.capabilities && { capAdd: [...input.capabilities.add], capDrop: [...input.capabilities.drop] }),
      networkMode: network.path === undefined ? 'host' : 'sandbox',
      readonlyRootfs: input.isReadOnlyRoot,
      ulimits: meta.ulimit.map(({ Name, Soft, Hard }) => ({ name: Name, soft: Number(Soft), hard: Number(Hard) })),
    },
    facts,
  );
  const spec = buildSpec({
    ...{ id, host, user, rootfs: input.rootfs, mounts: input.mounts, facts, cgroupsPath: input.cgroupsPath },
    config: {
      ...plainContainer,
      hostname: meta.hostname || STEP_HOSTNAME,
      cmd: meta.args,
      tty: input.terminal,
      workingDir: meta.cwd || '/',
    },
    generatedFiles: input.files,
    namespaces: {
      network: network.path === undefined ? 'host' : { path: network.path },
      ...{ pid: 'new', ipc: 'new', uts: 'new', user: 'host' },
      cgroup: host.cgroupnsMode === 'private' ? 'new' : 'host',
    },
    shm: { kind: 'private', sizeBytes: host.shmSizeBytes },
    runtimeKnowsRecursiveReadOnly: knowsRecursiveReadOnly(input.runtime.path),
    devices: resolveDevices(host),
  });
  spec.process.env = stepEnvironment(meta, input.secretEnv, user.home, input.terminal);
  return spec;
}

/** Variables of a step: the build's own come first, and what it leaves out is filled in. */
export function stepEnvironment(
  meta: Pick<Meta, 'env' | 'proxyEnv'>,
  secrets: readonly string[],
  home: string,
  terminal: boolean,
): string[] {
  const env = [...meta.env, ...proxyVariables(meta), ...secrets];
  const known = new Set(env.map((variable) => variable.split('=', 1)[0]));
  for (const variable of [DEFAULT_PATH, `HOME=${home}`, ...(terminal ? ['TERM=xterm'] : [])]) {
    if (!known.has(variable.split('=', 1)[0])) env.push(variable);
  }
  return env;
}

function proxyVariables({ proxyEnv }: Pick<Meta, 'proxyEnv'>): string[] {
  if (proxyEnv === undefined) return [];
  const { httpProxy, httpsProxy, ftpProxy, noProxy, allProxy } = proxyEnv;
  const values = {
    HTTP_PROXY: httpProxy,
    HTTPS_PROXY: httpsProxy,
    FTP_PROXY: ftpProxy,
    NO_PROXY: noProxy,
    ALL_PROXY: allProxy,
  };
  return Object.entries(values).flatMap(([name, value]) =>
    value === '' ? [] : [`${name}=${value}`, `${name.toLowerCase()}=${value}`],
  );
}

/**
 * Text of a step's /etc/hosts.
 * @throws {TareError} InvalidArgument: a name or address that cannot be written there
 */
export function stepHosts(hostname: string, extraHosts: readonly Pick<HostIP, 'Host' | 'IP'>[]): string {
  const lines = [`127.0.0.1\tlocalhost ${hostname || STEP_HOSTNAME}`, '::1\tlocalhost ip6-localhost ip6-loopback'];
  for (const { Host, IP } of extraHosts) {
    if (!HOST_NAME.test(Host) || isIP(IP) === 0) {
      throw new TareError(
        'InvalidArgument',
        `invalid extra host ${JSON.stringify(`${Host}:${IP}`)}: want NAME:ADDRESS`,
      );
    }
    lines.push(`${IP}\t${Host}`);
  }
  return `${lines.join('\n')}\n`;
}

/**
 * A step's cgroup, from the top of each hierarchy.
 * @throws {TareError} InvalidArgument: a parent that leads elsewhere
 */
export function stepCgroup(parent: string, id: string): string {
  const parts = parent.split('/').filter((part) => part !== '');
  if (parts.length > 0 && parts.every((part) => part !== '.' && part !== '..' && !part.includes('\0'))) {
    return `/${parts.join('/')}/${id}`;
  }
  throw new TareError(
    'InvalidArgument',
    `invalid cgroup parent ${JSON.stringify(parent)}: want a path such as /builds`,
  );
}

/**
 * Puts devices that an administrator described into a step's spec.
 * @throws {TareError} InvalidArgument, Unsupported: nobody describes such a device, and it is not optional
 */
export async function addDevices(spec: OciSpec, wanted: readonly { name: string; optional: boolean }[]): Promise<void> {
  if (wanted.length === 0) return;
  const devices = await CdiDevices.read(standardCdiFolders);
  for (const { name, optional } of wanted) {
    if (!isQualifiedName(name)) {
      throw new TareError(
        'InvalidArgument',
        `invalid CDI device name ${JSON.stringify(name)}: want vendor.com/class=name`,
      );
    }
    let edits: CdiEdits;
    try {
      edits = devices.editsFor([name]);
    } catch (error) {
      if (optional) continue;
      throw error;
    }
    applyCdiEdits(spec, edits);
  }
}
