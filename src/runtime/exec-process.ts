import { TareError } from '../errors/index.ts';
import { capabilitySets } from './capabilities.ts';
import { isRawNumber, rawNumber } from './json-number.ts';
import { overrideEnv } from './merge-image-defaults.ts';
import type { OciProcess, OciRlimit } from './oci-spec.ts';
import type { ResolvedUser } from './user.ts';

/** What a user asks of a further process in a running container. */
export interface ExecSettings {
  command: readonly string[];
  env: readonly string[];
  /** '' is the container's. */
  workingDir: string;
  tty: boolean;
  privileged: boolean;
  consoleSize?: readonly [rows: number, columns: number];
}

/**
 * The OCI `process` object of an exec: the container's first process, with what the user changes.
 *
 * @param container `process` of the container's config.json
 * @param user resolved for this exec; undefined keeps the container's user and home
 * @param available the host's capabilities, all of which a privileged exec gets
 * @throws {TareError} InvalidArgument: no command, a relative working folder
 */
export function buildExecProcess(
  container: OciProcess,
  exec: ExecSettings,
  user: ResolvedUser | undefined,
  available: readonly string[],
): OciProcess {
  if (exec.command.length === 0) throw new TareError('InvalidArgument', 'No exec command specified');
  if (exec.workingDir !== '' && !exec.workingDir.startsWith('/')) {
    throw new TareError(
      'InvalidArgument',
      `the working directory '${exec.workingDir}' is invalid, it needs to be an absolute path`,
    );
  }
  const { consoleSize: _own, apparmorProfile, rlimits, ...inherited } = container;
  const size = exec.consoleSize;
  const account = user ? { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids } : container.user;
  const bounding = exec.privileged ? available : container.capabilities.bounding;
  const profile = exec.privileged && apparmorProfile !== undefined ? 'unconfined' : apparmorProfile;
  return {
    ...inherited,
    terminal: exec.tty,
    ...(exec.tty && size && size[0] > 0 && size[1] > 0 && { consoleSize: { height: size[0], width: size[1] } }),
    user: account,
    args: [...exec.command],
    env: execEnv(container, exec, user),
    cwd: exec.workingDir || container.cwd,
    capabilities: capabilitySets(bounding, account.uid === 0),
    ...(rlimits && { rlimits: rlimits.map(exactLimits) }),
    ...(profile !== undefined && { apparmorProfile: profile }),
  };
}

function execEnv(container: OciProcess, exec: ExecSettings, user: ResolvedUser | undefined): string[] {
  let base = container.env;
  if (user !== undefined) base = overrideEnv(base, [`HOME=${user.home}`]);
  if (exec.tty && !base.some((variable) => variable.startsWith('TERM='))) base = [...base, 'TERM=xterm'];
  return overrideEnv(base, exec.env);
}

/** RLIM_INFINITY does not survive JSON.parse: 2^64 is what comes back. */
function exactLimits({ type, hard, soft }: OciRlimit): OciRlimit {
  const exact = (value: OciRlimit['hard']) =>
    isRawNumber(value) || Number.isSafeInteger(value) ? value : rawNumber(2n ** 64n - 1n);
  return { type, hard: exact(hard), soft: exact(soft) };
}
