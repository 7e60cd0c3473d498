import { posix } from 'node:path';
import { TareError } from '../../errors/index.ts';
import type * as llb from '../llb/index.ts';
import type { Mount } from './parse/index.ts';

/* What a mount of RUN asks for, as the graph has it. */

const invalid = (message: string) => new TareError('InvalidArgument', message);

/** Whether a cache says who owns it. */
export const isOwned = ({ uid, gid, mode }: Mount): boolean =>
  uid !== undefined || gid !== undefined || mode !== undefined;

export const ownedFolder = ({ uid, gid, mode }: Mount): llb.FileChange => ({
  kind: 'mkdir',
  path: '/cache',
  mode: mode ?? 0o755,
  owner: { user: uid ?? 0, group: gid ?? 0 },
});

export function secretOf(mount: Mount): llb.SecretMount {
  const id = mount.source || mount.id || posix.basename(mount.target);
  if (id === '') throw invalid('a secret mount wants an id, or a target: --mount=type=secret,id=NAME');
  const target =
    mount.target !== '' ? mount.target : mount.env === undefined ? `/run/secrets/${posix.basename(id)}` : undefined;
  return {
    id,
    target,
    env: mount.env,
    uid: mount.uid ?? 0,
    gid: mount.gid ?? 0,
    mode: mount.mode ?? 0o400,
    isOptional: !mount.isRequired,
  };
}

export function agentOf(mount: Mount): llb.SshMount {
  if (mount.source !== '') throw invalid('ssh mounts do not support source: name the agent by id');
  return {
    id: mount.id,
    target: mount.target === '' ? undefined : mount.target,
    uid: mount.uid ?? 0,
    gid: mount.gid ?? 0,
    mode: mount.mode ?? 0o600,
    isOptional: !mount.isRequired,
  };
}
